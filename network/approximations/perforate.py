"""Perforation: compute every second row, column or both, and interpolate the samples in between.

Figurnov et al. 2016, "PerforatedCNNs: Acceleration through Elimination of Redundant Convolutions", which copies
the nearest sample. Here each channel and each phase (position between the kept samples) has its own weights
for the four kept neighbours and a constant, fitted by least squares on calibration data.

Error: what the outputs hold above half the sampling rate; small for wide, smooth outputs, large for small ones.
Cost: operations fall to 1/2 or 1/4 and a little interpolation; the weights stay, a few coefficients are added.
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
from network.approximations.stages import Interpolate, Stages, saves, whole
from network.layers import Layer

STEPS = {"rows=2": (2, 1), "cols=2": (1, 2), "rows=2,cols=2": (2, 2)}
RIDGE = 1e-4
"""As a share of the variance: neighbours of a channel that is mostly zero are nearly collinear."""


@dataclass(frozen=True, slots=True)
class Perforate(Method):
    """Degree: every how many-th row and column is computed."""

    name: ClassVar[str] = "perforate"

    def fit(self, layer: Layer, context: Context, degrees: Sequence[Fraction] | None) -> Mapping[str, Stages]:
        """See Method.fit; a degree given as a share of the samples picks those that compute as many."""
        height, width, _ = layer.output_shape
        fitting = {
            degree: (rows, cols)
            for degree, (rows, cols) in STEPS.items()
            if height >= rows and width >= cols and (degrees is None or Fraction(1, rows * cols) in degrees)
        }
        stages = {degree: _stages(layer, context, *steps) for degree, steps in fitting.items()}
        return {degree: each for degree, each in stages.items() if saves(each, layer)}


def _stages(layer: Layer, context: Context, rows: int, cols: int) -> Stages:
    (convolve,) = whole(layer)
    height, width, channels = layer.output_shape
    sparse = replace(
        convolve,
        output_shape=(-(-height // rows), -(-width // cols), channels),
        stride=(layer.stride[0] * rows, layer.stride[1] * cols),
    )
    coefficients = _fit_coefficients(context.outputs, rows, cols)
    return (sparse, Interpolate(layer.output_shape, rows, cols, coefficients, layer.relu))


def _fit_coefficients(outputs: NDArray[np.float32], rows: int, cols: int) -> NDArray[np.float32]:
    """``(rows * cols, 5, c)``; phase 0 is the kept sample itself."""
    grid = outputs[:, ::rows, ::cols]
    below, right = (np.minimum(np.arange(size) + 1, size - 1) for size in grid.shape[1:3])
    neighbours = (grid, grid[:, :, right], grid[:, below], grid[:, below][:, :, right])
    coefficients = np.zeros((rows * cols, 5, outputs.shape[3]), np.float32)
    coefficients[0, 0] = 1
    for phase in range(1, rows * cols):
        wanted = outputs[:, phase // cols :: rows, phase % cols :: cols]
        height, width = wanted.shape[1:3]
        known = [each[:, :height, :width].reshape(-1, outputs.shape[3]) for each in neighbours]
        coefficients[phase] = _least_squares(known, wanted.reshape(-1, outputs.shape[3]))
    return coefficients


def _least_squares(known: Sequence[NDArray[np.float32]], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(5, c)``: for each channel the weights of the known values ``(n, c)`` and the constant.

    The ridge pulls towards the nearest sample and decides between neighbours that say the same.
    """
    means = np.stack([each.mean(axis=0) for each in known])
    centred = [each - mean for each, mean in zip(known, means, strict=True)]
    target = wanted - wanted.mean(axis=0) - centred[0]
    gram = np.stack([[_dot(a, b) for b in centred] for a in centred]).transpose(2, 0, 1)
    ridge = RIDGE * gram[:, 0, 0] + np.finfo(np.float32).tiny
    gram = gram + ridge[:, None, None] * np.eye(len(known))
    right = np.stack([_dot(a, target) for a in centred], axis=1)
    weight = np.linalg.solve(gram, right[:, :, None])[:, :, 0].T
    weight[0] += 1
    return np.concatenate([weight, [wanted.mean(axis=0) - (weight * means).sum(axis=0)]])


def _dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.einsum("nc,nc->c", a, b).astype(np.float64)


METHOD = Perforate()
