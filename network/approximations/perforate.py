"""Perforation: compute every second to fourth row, column or both, or a checkerboard, and fill in the rest.

Figurnov et al. 2016, "PerforatedCNNs: Acceleration through Elimination of Redundant Convolutions", copies the
nearest sample. Here each channel and each phase (position between the kept samples) has its own weights for
the four kept neighbours and a constant: those of least squares on calibration data, widened to the variance
of the exact outputs. Least squares alone has the least squared error, but its smooth outputs starve the
layers behind, and the network's divergence is larger.

Error: what the outputs hold above half the sampling rate; small for wide outputs, large for small ones. On a
checkerboard every skipped sample has computed ones on all four sides: of patterns that compute as many it
loses least wherever neither rows nor columns are much smoother than the others.
Cost: operations fall to 1/2, 1/3 or 1/4 and a little interpolation; the weights stay, coefficients are added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.method import Method
from network.approximations.stages import Convolve, Interpolate, Stages, saves
from network.perforation import Pattern

PATTERNS = {
    "rows=2": Pattern(2, 1),
    "cols=2": Pattern(1, 2),
    "checker=2": Pattern(2, 2, shift=1),
    "rows=3": Pattern(3, 1),
    "cols=3": Pattern(1, 3),
    "checker=3": Pattern(3, 3, shift=1),
    "rows=2,cols=2": Pattern(2, 2),
    "rows=4": Pattern(4, 1),
    "cols=4": Pattern(1, 4),
    "checker=4": Pattern(2, 4, shift=2),
}
POSITIONS = 1 << 15
"""Outputs of each channel that coefficients are fitted to, from at least FEWEST samples."""
FEWEST = 32
RIDGE = 1e-4
"""As a share of the variance: neighbours of a channel that is mostly zero are nearly collinear."""
WIDEST = 4.0
"""Neighbours that hardly predict a sample are not blown up to its whole variance."""


@dataclass(frozen=True, slots=True)
class Perforate(Method):
    """Degree: every how many-th row and column is computed, or pixel of a row of a checkerboard."""

    name: ClassVar[str] = "perforate"

    def fit(
        self, whole: Convolve, context: Context, degrees: Sequence[Fraction] | None
    ) -> Mapping[str, Stages]:
        """See Method.fit; a degree given as a share of the samples picks those that compute as many.

        Behind a ReLU with a limit nothing is perforated: what is interpolated would not keep it.
        """
        if whole.limit:
            return {}
        context = _first(context)
        stages = {
            degree: _stages(whole, context, pattern)
            for degree, pattern in PATTERNS.items()
            if _fits(pattern, whole) and (degrees is None or pattern.share in degrees)
        }
        return {degree: each for degree, each in stages.items() if saves(each, whole)}

    def refit(self, stages: Stages, base: Convolve, context: Context) -> Stages:
        """See Method.refit."""
        filling = next(each for each in stages if isinstance(each, Interpolate))
        return _stages(base, _first(context), filling.pattern)


def _first(context: Context) -> Context:
    """As many samples as the fit needs."""
    count = max(FEWEST, ceil(POSITIONS / prod(context.outputs.shape[1:3])))
    return replace(context, inputs=context.inputs[:count], outputs=context.outputs[:count])


def _fits(pattern: Pattern, whole: Convolve) -> bool:
    """Whether there is a block at all; what convolves in groups starts every row alike."""
    height, width, _ = whole.output_shape
    return height >= pattern.rows and width >= pattern.cols and not (pattern.shift and whole.groups > 1)


def _stages(whole: Convolve, context: Context, pattern: Pattern) -> Stages:
    sparse = _sparse(whole, pattern)
    coefficients = _fit_coefficients(sparse.run(context.inputs), context.outputs, pattern)
    return (sparse, Interpolate(whole.output_shape, pattern, coefficients, whole.relu))


def _sparse(whole: Convolve, pattern: Pattern) -> Convolve:
    """The convolution at the computed samples only.

    Shifted rows may end beyond the image: the padding grows as far as their last window reaches.
    """
    (height, width, channels), (down, across) = whole.output_shape, whole.stride
    rows, columns = pattern.grid(height, width)
    shear = (across * pattern.shift, pattern.rows) if pattern.shift else (0, 1)
    top, left, bottom, right = whole.padding
    extent = (whole.kernel[1] - 1) * whole.dilation[1] + 1
    last = (columns - 1) * across * pattern.cols + shear[0] * (shear[1] - 1)
    right = max(right, last + extent - left - whole.input_shape[1])
    return replace(
        whole,
        output_shape=(rows, columns, channels),
        stride=(down * pattern.rows // pattern.grid_rows, across * pattern.cols),
        padding=(top, left, bottom, right),
        shear=shear,
    )


def _fit_coefficients(
    grid: NDArray[np.float32], outputs: NDArray[np.float32], pattern: Pattern
) -> NDArray[np.float32]:
    """``(rows * cols, 5, c)``; what is computed is copied."""
    channels = outputs.shape[3]
    coefficients = np.zeros((pattern.rows * pattern.cols, 5, channels), np.float32)
    for phase, (down, right) in enumerate(np.ndindex(pattern.rows, pattern.cols)):
        known = pattern.known(grid, outputs.shape[1:3], down, right)
        if len(known) == 1:
            coefficients[phase, 0] = 1
            continue
        wanted = outputs[:, down :: pattern.rows, right :: pattern.cols].reshape(-1, channels)
        coefficients[phase] = _interpolation([each.reshape(-1, channels) for each in known], wanted)
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
    # The nearest one alone may be the same in all samples while the others are not.
    ridge = RIDGE * gram.trace(axis1=1, axis2=2)[:, None] / len(known) + np.finfo(np.float32).tiny
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
