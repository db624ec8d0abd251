"""The solver: one variant a layer, proven best under the bounds, or what the bounds rule out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from cluster.integer_program import IntegerProgram
from cluster.path_program import NotAnsweredError, PathProgram
from cluster.problem import (
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
    "Solver",
    "SolverError",
    "Totals",
    "solve",
    "totals_of",
]


class Solver:
    """A problem prepared for one question after another: a new bound is answered in milliseconds.

    Paths between proven bounds answer nearly everything; what they leave open the integer program answers.
    Where a relative ``gap`` is allowed, a configuration proven to be that near to the best one is an answer.
    """

    def __init__(self, problem: Problem, *, time_limit_s: float = 30.0, gap: float = 0.0) -> None:
        self.problem = problem
        self._gap = gap
        self._time_limit_s = time_limit_s
        self._paths = _paths(problem)
        self._program: IntegerProgram | None = None

    def forbidding(self, *variants: tuple[str, ...]) -> Solver:
        """The same without these configurations; shares what is prepared."""
        other = object.__new__(Solver)
        other.problem = replace(self.problem, forbidden=(*self.problem.forbidden, *variants))
        other._time_limit_s, other._gap, other._program = self._time_limit_s, self._gap, None
        other._paths = self._paths and self._paths.without(other.problem)
        return other

    def solve(self, limits: Limits, objective: Objective = "divergence") -> Solution | Infeasible:
        """The configuration with the least ``objective`` within the limits, or what would become feasible.

        Raises ``SolverError`` for a bound that is not positive, or if time is up before anything is found.
        """
        for quantity, bound in limits.given().items():
            if not (bound > 0 or (quantity == "divergence" and bound == 0)):
                raise SolverError(f"the {quantity} bound is {bound}; state a positive one, or leave it out")
        return self.minimise(objective, limits) or self._diagnose(limits)

    def minimise(self, objective: Objective, limits: Limits) -> Solution | None:
        """The best configuration within the limits; ``None`` if there is none."""
        if self._paths is not None:
            with suppress(NotAnsweredError):
                return self._paths.minimise(objective, limits, self._time_limit_s, self._gap)
        return self._integers().minimise(objective, limits)

    def _integers(self) -> IntegerProgram:
        self._program = self._program or IntegerProgram(self.problem, self._time_limit_s)
        return self._program

    def undominated(self, x: Objective, y: Objective, resolution: float) -> list[Solution] | None:
        """Everything that nothing beats in two costs that add up; ``None`` where paths do not tell."""
        if self._paths is None or self.problem.forbidden or "memory" in (x, y):
            return None
        return self._paths.pairs(x, y, resolution)

    def _diagnose(self, limits: Limits) -> Infeasible:
        found = {name: self.minimise(name, limits.without(name)) for name in limits.given()}
        nearest = {str(name): each.totals.of(name) if each else None for name, each in found.items()}
        effort = self._least_violation(limits, [each for each in found.values() if each])
        return Infeasible(nearest, effort, limits.violation(effort.totals) if effort else None)

    def _least_violation(self, limits: Limits, start: Sequence[Solution]) -> Solution | None:
        if self._paths is not None:
            with suppress(NotAnsweredError):
                return self._paths.least_violation(limits, start, self._time_limit_s)
        return self._integers().least_violation(limits)


def _paths(problem: Problem) -> PathProgram | None:
    try:
        return PathProgram(replace(problem, forbidden=())).without(problem)
    except NotAnsweredError:
        return None


def solve(
    problem: Problem, limits: Limits, objective: Objective = "divergence", *, time_limit_s: float = 30.0
) -> Solution | Infeasible:
    """What ``Solver.solve`` says of one question."""
    return Solver(problem, time_limit_s=time_limit_s).solve(limits, objective)
