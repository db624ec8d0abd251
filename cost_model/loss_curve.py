"""From summed divergence to accuracy loss: a power law, bent to the points where there are enough of them.

Small losses drown in the sampling noise of a few thousand samples, so points are weighted by how well each is
known, and nothing is ever predicted to gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Floats = NDArray[np.float64]
EXPONENTS = np.linspace(0.3, 2.0, 35)
PRIOR_EXPONENT, PRIOR_SPREAD = 0.75, 0.25
"""Where a handful of points leave the exponent open."""
CHANGED_PER_ROOT_NAT = 0.2
"""Share of answers that turn right or wrong, by the root of the divergence in nats.

A change of the logits moves samples across class boundaries in proportion to its size, and the divergence is
the square of that. On the shipped networks the factor is 0.18 to 0.21 for configurations that lose up to one
point (`changed_per_root_nat` of `python -m benchmarks.approximations`).
"""
LAW_ERROR = 0.3
"""Relative; how far the points may bend the power law before they must be well known."""
MODEL_ERROR = {True: 0.1, False: 0.3}
"""Relative; a joint configuration says more about others than a single layer does."""


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluation: summed divergence and the loss in percentage points, on ``count`` samples."""

    divergence: float
    loss_pp: float
    count: int
    joint: bool

    @property
    def variance(self) -> float:
        """Of the loss: paired sampling noise (at least ``loss * count`` answers changed) and model error."""
        changed = abs(self.loss_pp) / 100 + 1 / self.count
        return 1e4 * changed / self.count + (MODEL_ERROR[self.joint] * self.loss_pp) ** 2


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Never falls with the divergence; 0 at 0. Beyond the last knot it rises as the power law does."""

    scale: float
    exponent: float
    divergences: tuple[float, ...] = (0.0,)
    losses_pp: tuple[float, ...] = (0.0,)

    @classmethod
    def fit(cls, points: Sequence[Point]) -> LossCurve:
        """Learn from any number of points; without any, nothing is ever lost."""
        points = sorted((each for each in points if each.divergence > 0), key=lambda each: each.divergence)
        if not points:
            return cls(scale=0.0, exponent=PRIOR_EXPONENT)
        divergence = np.array([each.divergence for each in points])
        loss = np.array([each.loss_pp for each in points])
        known = 1 / np.array([each.variance for each in points])
        scale, exponent = _power_law(divergence, loss, known)
        bent = _bend(scale * divergence**exponent, loss, known)
        # Of points at the same place the last carries the value: isotonic regression left it the largest.
        knots = {0.0: 0.0} | dict(zip(divergence.tolist(), bent.tolist(), strict=True))
        return cls(scale, exponent, tuple(knots), tuple(knots.values()))

    def loss_pp(self, divergence: float) -> float:
        """Percentage points of accuracy lost at a summed divergence."""
        last = self.divergences[-1]
        inside = float(np.interp(divergence, self.divergences, self.losses_pp))
        beyond = max(divergence, last) ** self.exponent - last**self.exponent
        return inside + float(self.scale * beyond)

    def divergence_for(self, loss_pp: float) -> float:
        """The largest summed divergence that loses no more; infinite if none does, 0 if any does."""
        if loss_pp < 0:
            return 0.0
        last, top = self.divergences[-1], self.losses_pp[-1]
        if loss_pp >= top:
            return self._law_reaches(last**self.exponent, loss_pp - top)
        above = next(index for index, loss in enumerate(self.losses_pp) if loss > loss_pp)
        (left, right), (low, high) = (
            each[above - 1 : above + 1] for each in (self.divergences, self.losses_pp)
        )
        return left + (right - left) * (loss_pp - low) / (high - low)

    def _law_reaches(self, start: float, more_pp: float) -> float:
        if self.scale == 0:
            return inf
        # A law that hardly rises reaches the loss beyond every float.
        with np.errstate(over="ignore"):
            return float(np.power(start + more_pp / self.scale, 1 / self.exponent))


def _power_law(divergence: Floats, loss: Floats, known: Floats) -> tuple[float, float]:
    """Scale and exponent of the weighted least squares, the exponent held by its prior."""
    basis = divergence ** EXPONENTS[:, None]
    scales = np.maximum((basis * loss * known).sum(axis=1) / (basis**2 * known).sum(axis=1), 0)
    misfit = (known * (loss - scales[:, None] * basis) ** 2).sum(axis=1)
    best = int(np.argmin(misfit + ((EXPONENTS - PRIOR_EXPONENT) / PRIOR_SPREAD) ** 2))
    return float(scales[best]), float(EXPONENTS[best])


def _bend(law: Floats, loss: Floats, known: Floats) -> Floats:
    """Between law and points, each as far as it is known, and never falling (pool adjacent violators)."""
    # The floor keeps the weight finite where the law says 0.
    trust = 1 / ((LAW_ERROR * law) ** 2 + 1 / known.max())
    blended = (known * loss + trust * law) / (known + trust)
    return np.asarray(np.maximum(isotonic_regression(blended, weights=known + trust).x, 0.0))
