"""Timing contenders against each other on a machine that is never quite the same from one second to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import quantiles
from time import perf_counter

Block = Callable[[int], float]
"""Runs something so many times in a row and gives the seconds of one run."""


@dataclass(frozen=True, slots=True)
class Quartiles:
    """Of the seconds that a run takes, over all rounds."""

    lower_s: float
    median_s: float
    upper_s: float


def block(run: Callable[[], object]) -> Block:
    """Time ``run``, after one run that is not timed and brings its data back into the caches."""

    def seconds(runs: int) -> float:
        run()
        start = perf_counter()
        for _ in range(runs):
            run()
        return (perf_counter() - start) / runs

    return seconds


def interleave(contenders: Mapping[str, Block], rounds: int, runs: int) -> dict[str, Quartiles]:
    """Every contender runs a block in every round, and each round begins with another one.

    What slows the machine down for a while slows all of them down. ``rounds`` is at least 2.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(contenders[name](runs))
    return {
        name: Quartiles(*quantiles(values, n=4, method="inclusive")) for name, values in seconds.items()
    }
