"""The solver: one variant a layer, proven best under the bounds, or what the bounds rule out. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cluster.integer_program import IntegerProgram
from cluster.problem import (
    OBJECTIVES,
    Infeasible,
    Limits,
    Objective,
    Option,
    Problem,
    Solution,
    SolverError,
    Totals,
    totals_of,
)

__all__ = [
    "Infeasible",
    "Limits",
    "Objective",
    "Option",
    "Problem",
    "Solution",
    "SolverError",
    "Totals",
    "frontier",
    "solve",
    "totals_of",
]


def solve(
    problem: Problem, limits: Limits, objective: Objective = "divergence", *, time_limit_s: float = 30.0
) -> Solution | Infeasible:
    """The configuration with the least ``objective`` within the limits, or what would become feasible.

    Raises ``SolverError`` for a bound that is not positive, or if time is up before anything is found.
    """
    for quantity, bound in limits.given().items():
        if not (bound > 0 or (quantity == "divergence" and bound == 0)):
            raise SolverError(f"the {quantity} bound is {bound}; state a positive one, or leave it out")
    program = IntegerProgram(problem, time_limit_s)
    return program.minimise(objective, limits) or _diagnose(program, limits)


def frontier(
    problem: Problem,
    *,
    points: int = 16,
    memory_bounds: Iterable[float | None] = (None,),
    time_limit_s: float = 30.0,
) -> tuple[Solution, ...]:
    """Configurations none of which is worse than another in everything, by rising latency.

    Epsilon-constraint: the least divergence under ``points`` latency bounds, in equal steps between the
    fastest and the most accurate configuration, for each of the memory bounds.
    """
    program = IntegerProgram(problem, time_limit_s)
    found = {each.choice: each for bound in memory_bounds for each in _sweep(program, bound, points)}
    return tuple(sorted(_undominated(found.values()), key=lambda each: each.totals.latency_s))


def _sweep(program: IntegerProgram, memory_bytes: float | None, points: int) -> Iterable[Solution]:
    best = program.minimise("divergence", Limits(memory_bytes=memory_bytes))
    fastest = program.minimise("latency", Limits(memory_bytes=memory_bytes))
    if best is None or fastest is None:
        return
    yield best
    for bound_s in np.linspace(best.totals.latency_s, fastest.totals.latency_s, points)[1:]:
        # The last of linspace may miss the fastest by a rounding.
        limit_s = max(float(bound_s), fastest.totals.latency_s)
        if best.totals.latency_s > limit_s:
            best = (
                program.minimise("divergence", Limits(latency_s=limit_s, memory_bytes=memory_bytes))
                or fastest
            )
            yield best


def _undominated(solutions: Iterable[Solution]) -> list[Solution]:
    candidates = [(np.array([each.totals.of(name) for name in OBJECTIVES]), each) for each in solutions]
    return [
        each
        for costs, each in candidates
        if not any((other <= costs).all() and (other < costs).any() for other, _ in candidates)
    ]


def _diagnose(program: IntegerProgram, limits: Limits) -> Infeasible:
    nearest: dict[str, float | None] = {}
    for quantity in limits.given():
        solution = program.minimise(quantity, limits.without(quantity))
        nearest[quantity] = solution.totals.of(quantity) if solution else None
    return Infeasible(nearest, program.least_violation(limits))
