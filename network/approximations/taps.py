"""Filter sampling: only every second row, column or both of a window are multiplied, with other weights.

Sharif et al. 2021, "ApproxTuner: A Compiler and Runtime System for Adaptive Approximations", skips every k-th
weight of a filter and scales up the others. Here what is skipped are whole rows and columns of the window,
which is a dilated convolution, and the others are those of least squares behind the ReLU.

Error: what the skipped pixels say that their neighbours do not. On CIFAR-10-quick the divergence of a 5 x 5
convolution at 36 % of its operations was 0.6 to 0.7 times that of selecting channels, but 2 to 4 times that
of spatial low rank at 25 %: no run tries it unasked. Keeping the window's centre lost 2 to 3 times as much.
Cost: operations and stored weights of the rows and columns that are left; no further kernel or tensor.
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
from network.approximations.rows import Rows, inverse_covariance, regress, sample_rows
from network.approximations.stages import Convolve, Stages

STEPS = {"rows=2": (2, 1), "cols=2": (1, 2), "rows=2,cols=2": (2, 2)}


@dataclass(frozen=True, slots=True)
class Taps(Method):
    """Degree: every how many-th row and column of the window is multiplied."""

    name: ClassVar[str] = "taps"
    usual: ClassVar[bool] = False

    def fit(
        self, whole: Convolve, context: Context, degrees: Sequence[Fraction] | None
    ) -> Mapping[str, Stages]:
        """See Method.fit; a degree given as a share picks those that skip as many rows and columns."""
        chosen = {
            degree: steps
            for degree, steps in STEPS.items()
            if _fits(whole, steps) and (degrees is None or Fraction(1, steps[0] * steps[1]) in degrees)
        }
        if not chosen:
            return {}
        rows = sample_rows(whole, context)
        return {degree: (_sampled(whole, rows, steps),) for degree, steps in chosen.items()}

    def refit(self, stages: Stages, base: Convolve, context: Context) -> Stages:  # noqa: ARG002
        """See Method.refit: the base is the sampled window, and whoever solved it has fitted it."""
        return (base,)

    def base(self, stages: Stages, whole: Convolve) -> Convolve:  # noqa: ARG002
        """See Method.base: the window without what is skipped."""
        return next(each for each in stages if isinstance(each, Convolve))


def _fits(whole: Convolve, steps: tuple[int, int]) -> bool:
    """Whether the first and the last row and column stay, so that the window reaches as far."""
    sizes = zip(whole.kernel, steps, strict=True)
    return whole.groups == 1 and all(step == 1 or (size > 1 and size % step == 1) for size, step in sizes)


def _sampled(whole: Convolve, rows: Rows, steps: tuple[int, int]) -> Convolve:
    outputs, height, width, channels = whole.weight.shape
    window: NDArray[np.intp] = np.arange(height * width * channels).reshape(height, width, channels)
    taken = window[:: steps[0], :: steps[1]]
    columns = taken.reshape(-1)
    x = np.ascontiguousarray(rows.x[:, columns])
    inverse = inverse_covariance(x)
    start = whole.weight.reshape(outputs, -1)[:, columns].T.astype(np.float64)
    missing = rows.y - x @ start.astype(np.float32)
    start = start + inverse @ ((x.T @ missing).astype(np.float64) / len(x))
    weight, mean = regress(x, rows.y + rows.y_mean, inverse, (start, rows.y_mean), whole.relu)
    down, right = whole.dilation
    return replace(
        whole,
        weight=np.ascontiguousarray(weight.T.reshape(outputs, *taken.shape), np.float32),
        bias=(mean - rows.x_mean[columns] @ weight).astype(np.float32),
        dilation=(down * steps[0], right * steps[1]),
    )


METHOD = Taps()
