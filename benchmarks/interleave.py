"""Timing contenders against each other on a machine that is never the same for two seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import quantiles
from time import perf_counter

import numpy as np

Block = Callable[[int], float]
"""Runs something so many times in a row and gives the seconds of one run."""


@dataclass(frozen=True, slots=True)
class Quartiles:
    """Of the seconds that a run takes, over all rounds."""

    lower_s: float
    median_s: float
    upper_s: float


def block(run: Callable[[], object], warm_s: float = 0.0) -> Block:
    """Time ``run``, after runs that are not timed: one, and more for so many seconds.

    They bring its data back into the caches. Thread pools spin for some milliseconds after their work and
    keep the next contender's threads from its cores: ``warm_s`` waits until they sleep.
    """

    def seconds(runs: int) -> float:
        start = perf_counter()
        run()
        while perf_counter() - start < warm_s:
            run()
        start = perf_counter()
        for _ in range(runs):
            run()
        return (perf_counter() - start) / runs

    return seconds


def fitting_runs(contenders: Mapping[str, Block], seconds: float) -> dict[str, int]:
    """How many runs of each contender take about so long, at least one."""
    return {name: max(1, round(seconds / run(1))) for name, run in contenders.items()}


def interleave(contenders: Mapping[str, Block], rounds: int, runs: Mapping[str, int]) -> dict[str, Quartiles]:
    """Every contender runs a block in every round, in an order that is shuffled anew, always the same way.

    What slows the machine down for a while slows all of them down, and nobody always finds the caches as the
    same other one left them. ``rounds`` is at least 2.
    """
    names, order = list(contenders), np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for index in order.permutation(len(names)):
            name = names[index]
            seconds[name].append(contenders[name](runs[name]))
    return {name: Quartiles(*quantiles(values, n=4, method="inclusive")) for name, values in seconds.items()}
