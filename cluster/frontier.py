"""The frontier: every configuration that nothing beats, by exact epsilon-constraint. Pure.

Two costs that add up are solved for at once, and every point is found. Below a bound on the memory the least
divergence is asked for again and again, each time under a latency bound just below what the last answer
takes (Haimes, Lasdon and Wismer 1971): no point is missed, or with a resolution none that lies further from
its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import floor

import numpy as np

from cluster.problem import Limits, Objective, Problem, Solution
from cluster.solver import Solver

AXES: tuple[Objective, ...] = ("latency", "divergence", "memory")
STEP = 1e-9
"""Share of a latency by which the next one has to be lower."""
ROUNDING = 1e-12
"""Of a cost: what adding up in another order may change."""


def frontier(
    problem: Problem, *, resolution: float = 0.0, memory_levels: int = 1, time_limit_s: float = 30.0
) -> tuple[Solution, ...]:
    """All configurations that nothing beats in latency and divergence, by rising latency.

    With a ``resolution`` the best below each latency bound that is a multiple of that share of the range.
    With more ``memory_levels`` the same again below each of so many bounds on the memory, in equal steps from
    the least that there is to what the frontier takes: none of these is beaten in all three.
    """
    solver = Solver(problem, time_limit_s=time_limit_s)
    free = solver.undominated("latency", "divergence", resolution)
    found = list(_walk(solver, None, resolution)) if free is None else free
    for bound in _memory_bounds(solver, found, memory_levels):
        found += _walk(solver, bound, resolution)
    compared = AXES if memory_levels > 1 else AXES[:2]
    return tuple(sorted(_undominated(found, compared), key=lambda each: each.totals.latency_s))


def _memory_bounds(solver: Solver, free: Sequence[Solution], levels: int) -> list[float]:
    least = solver.minimise("memory", Limits()) if levels > 1 else None
    if least is None:
        return []
    most = max(each.totals.memory_bytes for each in free)
    return [float(each) for each in np.linspace(least.totals.memory_bytes, most, levels)[:-1]]


def _walk(solver: Solver, memory_bytes: float | None, resolution: float) -> Iterator[Solution]:
    """From the most accurate to the fastest below a bound on the memory."""
    fastest = solver.minimise("latency", Limits(memory_bytes=memory_bytes))
    best = solver.minimise("divergence", Limits(memory_bytes=memory_bytes))
    if best is None or fastest is None:
        return
    end_s = fastest.totals.latency_s
    step_s = resolution * (best.totals.latency_s - end_s)
    while best is not None:
        yield best
        bound_s = best.totals.latency_s * (1 - STEP)
        if step_s > 0:
            bound_s = end_s + step_s * floor((bound_s - end_s) / step_s)
        bound_s = max(bound_s, end_s)
        if best.totals.latency_s <= bound_s:
            return
        best = solver.minimise("divergence", Limits(latency_s=bound_s, memory_bytes=memory_bytes))


def _undominated(solutions: Sequence[Solution], names: Sequence[Objective]) -> list[Solution]:
    distinct = list({each.choice: each for each in solutions}.values())
    costs = np.array([[each.totals.of(name) for name in names] for each in distinct])
    return [
        each
        for each, own in zip(distinct, costs, strict=True)
        for slack in (ROUNDING * np.abs(own),)
        if not ((costs <= own + slack).all(axis=1) & (costs < own - slack).any(axis=1)).any()
    ]
