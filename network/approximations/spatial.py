"""Spatial low rank: a K x K window as a K x 1 column to few channels, then a 1 x K row to all of them.

Jaderberg et al. 2014, "Speeding up Convolutional Neural Networks with Low Rank Expansions", in the data-aware
form of Zhang et al. 2016: the columns' filters span what the weights make of the layer's real columns (a
singular value decomposition in the metric of their covariance and of the network's sensitivity), the rows'
filters are those of least squares behind the ReLU, given the columns.

Error: what the window does that is no sum of few separable filters. Windows of trained convolutions are
smooth: on CIFAR-10-quick a tenth of low rank's at the same number of operations. A dense layer, whose window
is the whole image, gains nothing over low rank and is left alone.
Cost: with co outputs and ci inputs, r * K * (ci + co) operations a sample and about as many stored numbers,
instead of co * K * K * ci; one more tensor of r channels, which are more than low rank's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from network.approximations.context import Context
from network.approximations.method import Method
from network.approximations.rows import (
    Exact,
    Matrix,
    Rows,
    inverse_covariance,
    regress,
    sample_rows,
    shrinkage,
)
from network.approximations.stages import Convolve, Stages

DEGREES = tuple(Fraction(text) for text in ("1/2", "1/4", "1/8"))
MOST = Fraction(1, 2)
"""Higher degrees are not offered: so little is lost at this one that what they cost gains next to nothing."""


@dataclass(frozen=True, slots=True)
class Spatial(Method):
    """Degree: about the share of the layer's operations that is left."""

    name: ClassVar[str] = "spatial"

    def fit(
        self, whole: Convolve, context: Context, degrees: Sequence[Fraction] | None
    ) -> Mapping[str, Stages]:
        """See Method.fit."""
        ranks = _ranks(whole, DEGREES if degrees is None else degrees)
        dense = whole.output_shape[:2] == (1, 1)
        if whole.groups > 1 or min(whole.kernel) == 1 or dense or not ranks:
            return {}
        rows = sample_rows(whole, context)
        factors = _factorise(whole, rows)
        return {degree: _stages(whole, rows, factors, rank) for degree, rank in ranks.items()}

    def refit(self, stages: Stages, base: Convolve, context: Context) -> Stages:
        """See Method.refit."""
        rows = sample_rows(base, context)
        return _stages(base, rows, _factorise(base, rows), stages[0].output_shape[2])


def _ranks(whole: Convolve, degrees: Sequence[Fraction]) -> dict[str, int]:
    """Degree to a multiple of 4 channels that need fewer operations than the layer; no doubles."""
    outputs, height, width, channels = whole.weight.shape
    full = min(height * channels, width * outputs)
    one = sum(stage.operations for stage in _empty(whole, 1))
    found: dict[int, str] = {}
    for degree in (each for each in degrees if each <= MOST):
        rank = max(4, 4 * round(degree * whole.operations / (4 * one)))
        if rank < full and rank * one < whole.operations:
            found.setdefault(rank, str(degree))
    return {degree: rank for rank, degree in found.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """``column @ row`` stands for the weights ``(kh * ci, kw * co)``, the terms that matter most first."""

    column: Exact
    """``(kh * ci, terms)``; what it gives of the layer's columns has the variance 1."""
    row: Exact
    """``(terms, kw, co)``."""


def _factorise(whole: Convolve, rows: Rows) -> Factors:
    outputs, height, width, channels = whole.weight.shape
    columns = rows.x.reshape(-1, height, width, channels).transpose(0, 2, 1, 3).reshape(-1, height * channels)
    covariance = (columns.T @ columns).astype(np.float64) / len(columns)
    values, vectors = np.linalg.eigh(
        covariance + shrinkage(covariance, len(columns)) * np.eye(len(covariance))
    )
    spread = np.sqrt(values)
    weight = whole.weight.astype(np.float64).transpose(1, 3, 2, 0).reshape(-1, width, outputs)
    whitened = np.tensordot((vectors * spread).T, weight, axes=1)
    left, _, _ = np.linalg.svd((whitened @ rows.metric).reshape(len(values), -1), full_matrices=False)
    return Factors((vectors / spread) @ left, np.tensordot(left.T, whitened, axes=1))


def _stages(whole: Convolve, rows: Rows, factors: Factors, rank: int) -> Stages:
    """The row's filters by least squares from what the column's filters give."""
    outputs, height, width, channels = whole.weight.shape
    column = factors.column[:, :rank]

    def between(x: Matrix) -> Matrix:
        windows = x.reshape(-1, height, width, channels).transpose(0, 2, 1, 3)
        given = windows.reshape(-1, width, height * channels) @ column.astype(np.float32)
        return given.reshape(len(given), -1)

    x, x_mean = between(rows.x), between(rows.x_mean)[0]
    start = factors.row[:rank].transpose(1, 0, 2).reshape(width * rank, outputs)
    weight, mean = regress(x, rows.y + rows.y_mean, inverse_covariance(x), (start, rows.y_mean), whole.relu)
    narrow, widen = _empty(whole, rank)
    columns, row = column.T.reshape(rank, height, 1, channels), weight.T.reshape(outputs, 1, width, rank)
    bias = mean - x_mean @ weight
    return (
        replace(narrow, weight=np.ascontiguousarray(columns, np.float32)),
        replace(widen, weight=np.ascontiguousarray(row, np.float32), bias=bias.astype(np.float32)),
    )


def _empty(whole: Convolve, rank: int) -> tuple[Convolve, Convolve]:
    """Column and row of zeros. The column has no bias, so that padding between the two is zero as well."""
    outputs, height, width, channels = whole.weight.shape
    top, left, bottom, right = whole.padding
    middle = (whole.output_shape[0], whole.input_shape[1], rank)
    narrow = Convolve(
        whole.input_shape,
        middle,
        np.zeros((rank, height, 1, channels), np.float32),
        np.zeros(rank, np.float32),
        (whole.stride[0], 1),
        (top, 0, bottom, 0),
        relu=False,
        dilation=(whole.dilation[0], 1),
    )
    widen = Convolve(
        middle,
        whole.output_shape,
        np.zeros((outputs, 1, width, rank), np.float32),
        np.zeros(outputs, np.float32),
        (1, whole.stride[1]),
        (0, left, 0, right),
        whole.relu,
        whole.limit,
        dilation=(1, whole.dilation[1]),
    )
    return narrow, widen


METHOD = Spatial()
