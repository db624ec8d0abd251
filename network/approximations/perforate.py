"""Perforation: compute every second row, column or both, and interpolate the samples in between.

Figurnov et al. 2016, "PerforatedCNNs: Acceleration through Elimination of Redundant Convolutions", copies the
nearest sample. Here each channel and each phase (position between the kept samples) has its own weights for
the four kept neighbours and a constant: those of least squares on calibration data, widened to the variance
of the exact outputs. Least squares alone has the least squared error, but its smooth outputs starve the
layers behind, and the network's divergence is larger.

Error: what the outputs hold above half the sampling rate; small for wide outputs, large for small ones.
Cost: operations fall to 1/2 or 1/4 and a little interpolation; the weights stay, coefficients are added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.method import Method
from network.approximations.stages import Convolve, Interpolate, Stages, saves

STEPS = {"rows=2": (2, 1), "cols=2": (1, 2), "rows=2,cols=2": (2, 2)}
RIDGE = 1e-4
"""As a share of the variance: neighbours of a channel that is mostly zero are nearly collinear."""
WIDEST = 4.0
"""Neighbours that hardly predict a sample are not blown up to its whole variance."""


@dataclass(frozen=True, slots=True)
class Perforate(Method):
    """Degree: every how many-th row and column is computed."""

    name: ClassVar[str] = "perforate"

    def fit(
        self, whole: Convolve, context: Context, degrees: Sequence[Fraction] | None
    ) -> Mapping[str, Stages]:
        """See Method.fit; a degree given as a share of the samples picks those that compute as many.

        Behind a ReLU with a limit nothing is perforated: what is interpolated would not keep it.
        """
        if whole.limit:
            return {}
        height, width, _ = whole.output_shape
        fitting = {
            degree: (rows, cols)
            for degree, (rows, cols) in STEPS.items()
            if height >= rows and width >= cols and (degrees is None or Fraction(1, rows * cols) in degrees)
        }
        stages = {degree: _stages(whole, context, *steps) for degree, steps in fitting.items()}
        return {degree: each for degree, each in stages.items() if saves(each, whole)}

    def refit(self, stages: Stages, base: Convolve, context: Context) -> Stages:
        """See Method.refit."""
        filling = next(each for each in stages if isinstance(each, Interpolate))
        return _stages(base, context, filling.rows, filling.cols)


def _stages(whole: Convolve, context: Context, rows: int, cols: int) -> Stages:
    height, width, channels = whole.output_shape
    sparse = replace(
        whole,
        output_shape=(-(-height // rows), -(-width // cols), channels),
        stride=(whole.stride[0] * rows, whole.stride[1] * cols),
    )
    coefficients = _fit_coefficients(sparse.run(context.inputs), context.outputs, rows, cols)
    return (sparse, Interpolate(whole.output_shape, rows, cols, coefficients, whole.relu))


def _fit_coefficients(
    grid: NDArray[np.float32], outputs: NDArray[np.float32], rows: int, cols: int
) -> NDArray[np.float32]:
    """``(rows * cols, 5, c)``; phase 0 is the kept sample itself."""
    below, right = (np.minimum(np.arange(size) + 1, size - 1) for size in grid.shape[1:3])
    neighbours = (grid, grid[:, :, right], grid[:, below], grid[:, below][:, :, right])
    coefficients = np.zeros((rows * cols, 5, outputs.shape[3]), np.float32)
    coefficients[0, 0] = 1
    for phase in range(1, rows * cols):
        wanted = outputs[:, phase // cols :: rows, phase % cols :: cols]
        height, width = wanted.shape[1:3]
        known = [each[:, :height, :width].reshape(-1, outputs.shape[3]) for each in neighbours]
        coefficients[phase] = _interpolation(known, wanted.reshape(-1, outputs.shape[3]))
    return coefficients


def _interpolation(known: Sequence[NDArray[np.float32]], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(5, c)``: for each channel the weights of the known values ``(n, c)`` and the constant.

    The ridge pulls towards the nearest sample and decides between neighbours that say the same.
    """
    means = np.stack([each.mean(axis=0) for each in known])
    mean = wanted.mean(axis=0)
    centred = [each - own for each, own in zip(known, means, strict=True)]
    gram = np.stack([[_dot(a, b) for b in centred] for a in centred]).transpose(2, 0, 1)
    cross = np.stack([_dot(each, wanted - mean) for each in centred], axis=1)
    ridge = RIDGE * gram[:, 0, 0, None] + np.finfo(np.float32).tiny
    towards = np.eye(len(known))[0]
    solvable = gram + ridge[:, :, None] * np.eye(len(known))
    weight = np.linalg.solve(solvable, (cross + ridge * towards)[:, :, None])[:, :, 0]
    weight *= _widening(weight, gram, _dot(wanted - mean, wanted - mean))[:, None]
    return np.concatenate([weight.T, [mean - (weight.T * means).sum(axis=0)]])


def _widening(
    weight: NDArray[np.float64], gram: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """By what to multiply each channel's weights ``(c, 4)`` for the variance ``wanted``."""
    predicted = np.einsum("ci,cij,cj->c", weight, gram, weight)
    ratio = np.sqrt(wanted / np.maximum(predicted, np.finfo(np.float32).tiny))
    return np.asarray(np.clip(ratio, 1, WIDEST))


def _dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nc,nc->c", a, b), np.float64)


METHOD = Perforate()
