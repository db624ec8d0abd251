"""How a function is timed, and when there are enough repeats. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import median
from typing import Final, NamedTuple, Protocol

FEWEST_REPEATS: Final = 6
"""Below six repeats no two of them enclose the median with a confidence of 95 %."""


class ArgumentSpec(Protocol):
    """An argument of a compiled function and how to fill it: ``random``, ``range`` or ``zeros``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """All dimensions."""

    @property
    def dtype(self) -> str:
        """As numpy names it."""

    @property
    def fill(self) -> str:
        """What it holds before the function is called."""


class Argument(NamedTuple):
    """The plain form of an ``ArgumentSpec``."""

    shape: tuple[int, ...]
    dtype: str
    fill: str = "random"


@dataclass(frozen=True, slots=True)
class TimingRequest:
    """One function of a library, called with tensors in the order of ``arguments``."""

    symbol: str
    arguments: Sequence[ArgumentSpec]


@dataclass(frozen=True, slots=True)
class TimingPolicy:
    """When a timing is good enough, and when it has taken too long."""

    min_repeat_s: float = 1e-3
    """A repeat calls the function as often as it takes to last this long."""
    relative_ci: float = 0.02
    """Wanted half-width of the 95 % confidence interval of the median, as a share of the median."""
    budget_s: float = 0.25
    """Time for all repeats of one function."""
    max_repeats: int = 200
    deadline_s: float = 30.0
    """After which a function that has not answered counts as hung, and its session is killed."""

    def number(self, once_s: float) -> int:
        """Calls in a repeat of a function that takes ``once_s``."""
        return max(1, math.ceil(self.min_repeat_s / max(once_s, 1e-9)))

    def next_repeats(self, seconds: Sequence[float]) -> int:
        """How many repeats to take before asking again whether they say enough.

        First the fewest that can; then what the interval, which narrows with the square root of their number,
        seems to lack: at least three, with which another value may be left out at either end, and at most as
        many again, since the first ones may have met a disturbance.
        """
        count = len(seconds)
        if count < FEWEST_REPEATS:
            return FEWEST_REPEATS - count
        lacking = count * (relative_half_width(seconds) / self.relative_ci) ** 2 - count
        return min(max(3, math.ceil(lacking)), count, max(1, self.max_repeats - count))

    def settled(self, seconds: Sequence[float]) -> bool:
        """Whether the repeats say enough."""
        return relative_half_width(seconds) <= self.relative_ci


@dataclass(frozen=True, slots=True)
class Timing:
    """One function's measurement."""

    symbol: str
    number: int
    """Calls in a repeat."""
    seconds: tuple[float, ...]
    """Per call, one entry a repeat, in the order of measuring; nothing is left out."""
    converged: bool
    conditions: Mapping[str, float] = field(default_factory=dict)
    """What else is known of the moment, with units in the names."""

    @property
    def median_s(self) -> float:
        """Seconds per call."""
        return median(self.seconds)


def relative_half_width(seconds: Sequence[float]) -> float:
    """Half the width of the median's 95 % confidence interval over the median; infinite below six values.

    The interval is that between two order statistics, which assumes nothing about the distribution:
    Hahn and Meeker, Statistical Intervals, 5.2.
    """
    if len(seconds) < FEWEST_REPEATS:
        return math.inf
    ordered = sorted(seconds)
    rank = _rank(len(ordered))
    return (ordered[-1 - rank] - ordered[rank]) / (2 * median(ordered))


@cache
def _rank(count: int) -> int:
    """The largest number of values that may be left out at either end."""
    tail, rank = 0.5**count, 0
    while tail + math.comb(count, rank + 1) * 0.5**count <= 0.025:
        rank += 1
        tail += math.comb(count, rank) * 0.5**count
    return rank
