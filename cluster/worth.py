"""What is worth measuring: whatever could still change the choice by more than the tolerance. Pure.

Optimism in the face of uncertainty (Lai and Robbins 1985, "Asymptotically efficient adaptive allocation
rules"): every kernel that is only predicted is taken to be as fast as its error bar allows. Where even then
the solver finds nothing that is better than the proposal by more than the tolerance, no measurement can
change the choice; else what makes that configuration so good is measured, and all begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cluster.model import Knowledge, problem_of
from cluster.problem import Limits, Objective, Totals
from cluster.selection import requests_of, selected
from cluster.solver import Solver
from cluster.table import Table

PASSES: Final = 4
"""Configurations that are looked at in one go: each of them may be as good as it looks, or not."""


def worth_measuring(
    table: Table,
    knowledge: Knowledge,
    limits: Limits,
    objective: Objective,
    gains: Callable[[Totals], bool],
    forbidden: tuple[tuple[str, ...], ...] = (),
) -> tuple[str, ...]:
    """Requests of configurations within the limits that might be better: ``gains`` says by their totals.

    After each the next one is looked for as though the kernels of those before took what is predicted.
    """
    at_best = dict(knowledge.at_best_s)
    found: dict[str, None] = {}
    for _ in range(PASSES if at_best else 0):
        optimistic = replace(knowledge, latency_s={**knowledge.latency_s, **at_best})
        problem = replace(problem_of(table, optimistic), forbidden=forbidden)
        outcome = Solver(problem).minimise(objective, limits)
        if outcome is None or not gains(outcome.totals):
            break
        # With the tiles that may be the fastest.
        selection = selected(table, outcome.variants, optimistic.latency_s)
        new = [each for each in requests_of(table, selection) if each in at_best]
        if not new:
            break
        found.update(dict.fromkeys(new))
        for request in new:
            del at_best[request]
    return tuple(found)
