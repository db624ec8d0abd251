"""Minimise a linear cost over binaries, exactly, with most of them ruled out before HiGHS branches.

The relaxation bounds every configuration from below, and its reduced costs say what a single column adds at
least. The few columns with the smallest ones nearly always hold the optimum; what it costs then proves the
others useless, or names those to be looked at again (Dembo and Hammer 1980; Balas and Zemel 1980).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

Floats = NDArray[np.float64]
SLACK = 1e-3
"""On a cost scaled to about 1e6: far above HiGHS's tolerances, far below a difference that matters."""
OPTIMAL, INFEASIBLE = 0, 2


class TimeUpError(RuntimeError):
    """No solution was found in time."""


@dataclass(frozen=True, slots=True, eq=False)
class BinaryProgram:
    """Columns are binaries first, then ``continuous`` non-negative ones; a row lies within its two bounds.

    A row is either an equality or has no lower bound.
    """

    cost: Floats
    coefficients: Floats
    """``(rows, columns)``."""
    lower: Floats
    upper: Floats
    continuous: int

    @property
    def binaries(self) -> int:
        """How many columns are binary."""
        return len(self.cost) - self.continuous


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The binaries that are one, by column, with the cost and the relative gap left (0: proven optimal)."""

    chosen: NDArray[np.intp]
    cost: float
    gap: float


def minimise(program: BinaryProgram, core_size: int, time_limit_s: float) -> Answer | None:
    """The least cost, or ``None`` where nothing is feasible.

    ``core_size`` columns are tried first. Raises ``TimeUpError`` where the time is up with nothing in hand.
    """
    if program.binaries <= core_size:
        return _branch(program, np.arange(program.binaries), time_limit_s)
    relaxed = _relax(program)
    if relaxed is None:
        return None
    bound, reduced = relaxed
    core = np.sort(np.argsort(reduced, kind="stable")[:core_size])
    answer = _branch(program, core, time_limit_s)
    room = inf if answer is None else answer.cost - bound + SLACK
    useful = np.flatnonzero(reduced <= room)
    if np.isin(useful, core).all():
        return answer
    return _branch(program, useful, time_limit_s)


def _relax(program: BinaryProgram) -> tuple[float, Floats] | None:
    """Least cost of the relaxation, and what each binary adds to it at least; ``None``: infeasible."""
    equal = program.lower == program.upper
    result = linprog(
        program.cost,
        A_ub=program.coefficients[~equal],
        b_ub=program.upper[~equal],
        A_eq=program.coefficients[equal],
        b_eq=program.upper[equal],
    )
    if result.status == INFEASIBLE:
        return None
    if result.status != OPTIMAL:
        # Nothing is known then, and nothing is ruled out.
        return -inf, np.zeros(program.binaries)
    return float(result.fun), np.asarray(result.lower.marginals[: program.binaries])


def _branch(program: BinaryProgram, binaries: NDArray[np.intp], time_limit_s: float) -> Answer | None:
    columns = np.concatenate([binaries, np.arange(program.binaries, len(program.cost))])
    binary = np.arange(len(columns)) < len(binaries)
    with _silence():
        result = milp(
            program.cost[columns],
            integrality=binary,
            bounds=Bounds(0, np.where(binary, 1, inf)),
            constraints=LinearConstraint(program.coefficients[:, columns], program.lower, program.upper),
            options={"mip_rel_gap": 0.0, "time_limit": time_limit_s},
        )
    if result.status == INFEASIBLE:
        return None
    if result.x is None:
        raise TimeUpError(result.message)
    chosen = binaries[result.x[: len(binaries)] > 0.5]
    return Answer(chosen, float(result.fun), 0.0 if result.status == OPTIMAL else float(result.mip_gap))


@contextmanager
def _silence() -> Iterator[None]:
    """HiGHS leaves a line of its own debugging on the process's output now and then, whatever its options."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
