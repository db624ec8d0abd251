"""What a device needs next, decided from what is known. Pure: the same knowledge gives the same decision.

Prediction proposes, the device disposes: a configuration is proposed by the solver, its kernels are measured,
its joint accuracy is evaluated, it runs end to end on the device; every run corrects the predictions, until
the verified figures are inside the bounds or nothing that could be inside them is left.
"""

from __future__ import annotations

from cluster.cheapest import Cheapest
from cluster.context_plan import to_profile
from cluster.errors import ClusterError
from cluster.goal import Goal
from cluster.least_loss import LeastLoss, nearest_bounds
from cluster.model import Knowledge
from cluster.needs import (
    Decision,
    Finished,
    NeedEvaluation,
    NeedMeasurements,
    NeedProfile,
    NeedRun,
    Policy,
    Spent,
    TakeOver,
)
from cluster.search import holds, target_limits
from cluster.selection import Selection, requests_of, select, unmeasured
from cluster.table import Table
from cost_model.accuracy import EXACT

__all__ = [
    "UNIFORM",
    "Decision",
    "Finished",
    "Goal",
    "NeedEvaluation",
    "NeedMeasurements",
    "NeedProfile",
    "NeedRun",
    "Policy",
    "Spent",
    "TakeOver",
    "decide",
    "follow",
    "holds",
    "is_uniform",
    "nearest_bounds",
    "target_limits",
    "works",
]

UNIFORM = ("exact", "int8")
"""Approximations that run in all layers at once before anything is chosen."""


def decide(table: Table, knowledge: Knowledge, goal: Goal, policy: Policy, spent: Spent) -> Decision:
    """The next thing that brings the device to a verified configuration, after so much was spent on it.

    The uniform configurations run first: exact because relative bounds refer to it, int8 because two points
    tell what lies between kernels and network.
    """
    for name in UNIFORM:
        uniform = select(table.uniform(name), knowledge.latency_s)
        if missing := _missing(table, uniform, knowledge, spent):
            if spent.budget and name != EXACT:
                continue
            return NeedMeasurements(missing)
        if not works(table, uniform, knowledge):
            continue
        if uniform.variants not in knowledge.joint:
            return NeedEvaluation(uniform)
        if knowledge.run_of_variants(uniform.variants) is None:
            return NeedRun(uniform)
    if not knowledge.runs:
        raise ClusterError(
            f"no exact kernel works on class {table.device_class}; `blinknet devices` shows what it is"
        )
    if knowledge.context is None and (selections := to_profile(table, knowledge, policy.profiled)):
        return NeedProfile(selections)
    search = LeastLoss if goal.objective == "loss" else Cheapest
    limits = goal.bounds.resolve(knowledge.runs[0].exact)
    found = search(table, knowledge, goal, policy, spent, limits)
    return (found.verified(comfortably=True) if spent.budget else None) or found.next()


def follow(table: Table, knowledge: Knowledge, goal: Goal, final: Finished) -> Decision:
    """The next thing that brings a unit to a certificate of its own for its class's configuration.

    The exact one runs first, as relative bounds refer to it on this very unit. Where another unit has found a
    configuration that holds and that does not hold here, the search goes on here.
    """
    exact = select(table.uniform(EXACT), knowledge.latency_s)
    if knowledge.run_of_variants(exact.variants) is None:
        return NeedRun(exact)
    run = knowledge.run_of(final.selection)
    if run is None:
        return NeedRun(final.selection)
    if holds(run, goal.bounds):
        return Finished("holds", final.selection)
    return TakeOver() if final.verdict == "holds" else final


def _missing(table: Table, uniform: Selection, knowledge: Knowledge, spent: Spent) -> tuple[str, ...]:
    """What is to be measured of a uniform configuration: all tiles, unless the budget is spent."""
    if not spent.budget:
        return unmeasured(table, uniform, knowledge.settled)
    return tuple(each for each in requests_of(table, uniform) if each not in knowledge.settled)


def is_uniform(table: Table, variants: tuple[str, ...]) -> bool:
    """Whether it is one of those that run for every device, whatever its bounds."""
    return any(variants == table.uniform_variants(name) for name in UNIFORM)


def works(table: Table, selection: Selection, knowledge: Knowledge) -> bool:
    """Whether each of its kernels gave a latency on the device."""
    return all(request in knowledge.latency_s for request in requests_of(table, selection))
