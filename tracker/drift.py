"""Whether a device is still as fast as it was: a reference kernel is timed among the others.

A clock that falls, or a board that throttles, moves every kernel; a neighbour that wakes up moves some. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final, TypeVar

import numpy as np

from tracker.timing import Timing, TimingPolicy

READING_POLICY: Final = TimingPolicy(budget_s=0.03, max_repeats=20)
"""Of the reference kernel: it is timed often."""

Request = TypeVar("Request")


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """How often to look, and what is too much."""

    share: float = 0.1
    """By which the reference may differ before what was timed meanwhile is timed again."""
    every: int = 8
    """Requests between two readings."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A device that did not come back to the speed that it began with."""

    share: float
    """How much longer everything took than at the beginning; below 0: less long."""
    first_s: float
    """The reference at the beginning."""
    reference_s: float
    """The reference where it differed most."""
    requests: int
    """How many timings were corrected."""


@dataclass(frozen=True, slots=True)
class Span:
    """The reference's readings at both ends of some timings."""

    before_s: float
    after_s: float

    @property
    def level_s(self) -> float:
        """What it would have read in the middle."""
        return sqrt(self.before_s * self.after_s)

    def moved(self, share: float) -> bool:
        """Whether the ends differ by more."""
        return _differs(self.after_s, self.before_s, share)


def reading_s(timing: Timing) -> float:
    """A reading of the reference: the lower quartile, which a clock moves and a short trouble does not."""
    return float(np.quantile(timing.seconds, 0.25))


def segments(requests: Sequence[Request], every: int) -> list[Sequence[Request]]:
    """What is timed between two readings."""
    return [requests[start : start + every] for start in range(0, len(requests), every)]


def drift_share(first_s: float, span: Span, share: float) -> float | None:
    """How much slower than at the beginning the device was meanwhile, where it is too much."""
    level_s = span.level_s
    return level_s / first_s - 1 if _differs(level_s, first_s, share) else None


def corrected(timing: Timing, share: float | None) -> Timing:
    """The timing as at the speed of the beginning, flagged; its raw seconds are ``seconds * (1 + drift)``."""
    if share is None:
        return timing
    seconds = tuple(each / (1 + share) for each in timing.seconds)
    return replace(timing, seconds=seconds, conditions={**timing.conditions, "drift": share})


def worst(drifts: Sequence[Drift]) -> Drift | None:
    """All of them in one: the largest, with every timing that was corrected."""
    if not drifts:
        return None
    largest = max(drifts, key=lambda each: abs(each.share))
    return replace(largest, requests=sum(each.requests for each in drifts))


def _differs(one: float, other: float, share: float) -> bool:
    """By ratio, so that faster and slower are the same distance away."""
    return max(one / other, other / one) > 1 + share
