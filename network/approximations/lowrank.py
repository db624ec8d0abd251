"""Low rank: a convolution to few channels, then a 1x1 convolution to all of them.

Data-aware: the subspace is that of the layer's outputs on calibration data, not of its weights. Sources:
Denton et al. 2014, "Exploiting Linear Structure Within Convolutional Networks"; Zhang et al. 2016,
"Accelerating Very Deep Convolutional Networks for Classification and Detection", whose regression behind the
ReLU this is.

Error: the variance of the outputs outside the subspace, by how much the network's answer depends on it; small
down to 1/2, grows fast below 1/4.
Cost: of a layer with co outputs and D = kh * kw * ci inputs each, r * (D + co) operations a sample and as
many stored numbers, instead of co * D; one more tensor of r channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import ClassVar

import numpy as np

from network.approximations.context import Context
from network.approximations.method import Method, kept
from network.approximations.rows import (
    ITERATIONS,
    Exact,
    Matrix,
    Rows,
    behind_relu,
    sample_rows,
    shrinkage,
)
from network.approximations.stages import Convolve, Stages


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """``up @ down @ (y - mean) + bias`` stands for ``y``."""

    down: Exact
    """``(rank, co)``."""
    up: Exact
    """``(co, rank)``."""
    bias: Exact


@dataclass(frozen=True, slots=True)
class LowRank(Method):
    """Degree: the rank as a share of the layer's full rank."""

    name: ClassVar[str] = "lowrank"

    def fit(
        self, whole: Convolve, context: Context, degrees: Sequence[Fraction] | None
    ) -> Mapping[str, Stages]:
        """See Method.fit."""
        if whole.groups > 1:
            return {}
        outputs, *window = whole.weight.shape
        inputs = prod(window)
        ranks = {
            degree: rank
            for degree, rank in kept(min(outputs, inputs), degrees).items()
            if rank * (inputs + outputs) < outputs * inputs
        }
        if not ranks:
            return {}
        rows = sample_rows(whole, context)
        return {
            degree: _stages(whole, rows, _factorise(rows, rank, whole.relu)) for degree, rank in ranks.items()
        }

    def refit(self, stages: Stages, base: Convolve, context: Context) -> Stages:
        """See Method.refit."""
        rows = sample_rows(base, context)
        return _stages(base, rows, _factorise(rows, stages[0].output_shape[2], base.relu))


def _factorise(rows: Rows, rank: int, relu: bool) -> Factors:
    """Reduced-rank regression of the outputs on themselves, where only what passes the ReLU counts."""
    y = rows.y
    covariance = (y.T @ y).astype(np.float64) / len(y)
    covariance += shrinkage(covariance, len(y)) * np.eye(len(covariance))
    factors = _truncate(rows, covariance, np.eye(len(covariance)), rank, rows.y_mean)
    for _ in range(ITERATIONS if relu else 0):
        predicted = y @ (factors.up @ factors.down).T.astype(np.float32) + factors.bias.astype(np.float32)
        change = behind_relu(y + rows.y_mean, predicted, relu) - (y + rows.y_mean)
        cross = ((change - change.mean(axis=0)).T @ y).astype(np.float64) / len(y)
        best = np.eye(len(covariance)) + np.linalg.solve(covariance, cross.T).T
        factors = _truncate(rows, covariance, best, rank, rows.y_mean + change.mean(axis=0))
    return factors


def _truncate(rows: Rows, covariance: Exact, full: Exact, rank: int, mean: Matrix) -> Factors:
    """The map ``full`` of the outputs cut to that rank, with the least error by the metric."""
    whitened = rows.metric @ full
    _, vectors = np.linalg.eigh(whitened @ covariance @ whitened.T)
    basis = vectors[:, ::-1][:, :rank]
    down, up = basis.T @ whitened, np.linalg.solve(rows.metric, basis)
    # Components of equal spread lose least when the tensor between the convolutions is stored in 8 bits.
    spread = np.sqrt(np.maximum(np.einsum("ri,ij,rj->r", down, covariance, down), np.finfo(np.float32).tiny))
    return Factors(down / spread[:, None], up * spread, mean.astype(np.float64))


def _stages(whole: Convolve, rows: Rows, factors: Factors) -> Stages:
    rank, outputs = factors.down.shape
    weight = factors.down @ whole.weight.reshape(outputs, -1).astype(np.float64)
    middle = (*whole.output_shape[:2], rank)
    narrow = replace(
        whole,
        output_shape=middle,
        weight=weight.reshape(rank, *whole.weight.shape[1:]).astype(np.float32),
        bias=(factors.down @ (whole.bias - rows.y_mean)).astype(np.float32),
        relu=False,
        limit=0.0,
    )
    widen = Convolve(
        middle,
        whole.output_shape,
        factors.up.astype(np.float32)[:, None, None, :],
        factors.bias.astype(np.float32),
        (1, 1),
        (0, 0, 0, 0),
        whole.relu,
        whole.limit,
    )
    return (narrow, widen)


METHOD = LowRank()
