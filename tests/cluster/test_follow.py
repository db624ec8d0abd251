"""What a unit needs that runs what its class has found: decided from its own runs alone."""

from dataclasses import replace

import pytest

from cluster.decision import UNIFORM, Decision, Finished, NeedRun, TakeOver, decide, follow
from cluster.goal import Goal
from cluster.needs import Spent
from cluster.planning import ClassPlan
from runtime.bounds import Bounds
from tests.cluster.worlds import Truth, World

BOUNDS = {"latency": "80%", "loss": "10pp"}


def found(plan: ClassPlan, bounds: Bounds) -> Finished:
    """What another unit of the class has found."""
    outcome = World(Truth(31, plan.table), bounds).walk()
    assert outcome.verdict == "holds"
    return outcome


def unit(plan: ClassPlan, bounds: Bounds) -> World:
    """A unit that has measured nothing itself, and all is known."""
    world = World(Truth(31, plan.table), bounds)
    world.settled.update(plan.table.requests)
    return world


def asked(world: World, final: Finished) -> Decision:
    return follow(world.truth.table, world.knowledge(), Goal(world.bounds), final)


def test_it_runs_the_exact_configuration_then_the_class_s_and_nothing_else(plan: ClassPlan):
    bounds = Bounds.parse(BOUNDS)
    final, world = found(plan, bounds), unit(plan, bounds)
    first = asked(world, final)
    assert isinstance(first, NeedRun)
    assert first.selection.variants == plan.table.uniform_variants(UNIFORM[0])
    world._run(first.selection)
    assert asked(world, final) == NeedRun(final.selection)
    world._run(final.selection)
    assert asked(world, final) == Finished("holds", final.selection)


@pytest.mark.parametrize(("verdict", "expected"), [("holds", TakeOver), ("infeasible", Finished)])
def test_where_its_bounds_break_the_search_goes_on_unless_it_found_nothing_elsewhere(
    plan: ClassPlan, verdict: str, expected: type
):
    final = replace(found(plan, Bounds.parse(BOUNDS)), verdict=verdict)
    world = unit(plan, Bounds.parse({"latency": "0.000001ms", "loss": "10pp"}))
    for _ in range(2):
        need = asked(world, final)
        assert isinstance(need, NeedRun)
        world._run(need.selection)
    decision = asked(world, final)
    assert isinstance(decision, expected)
    if isinstance(decision, Finished):
        assert decision == final


def test_who_takes_over_goes_on_from_what_it_has_run(plan: ClassPlan):
    """Its own search begins with the runs that it already has."""
    bounds = Bounds.parse(BOUNDS)
    final, world = found(plan, bounds), unit(plan, bounds)
    while isinstance(need := asked(world, final), NeedRun):
        world._run(need.selection)
    decision = decide(plan.table, world.knowledge(), Goal(bounds), world.policy, Spent(world.rounds))
    assert decision != NeedRun(final.selection)
    exact = plan.table.uniform_variants(UNIFORM[0])
    assert not (isinstance(decision, NeedRun) and decision.selection.variants == exact)
