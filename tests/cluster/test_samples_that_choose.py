"""Calibration samples choose; what evaluation samples show may refuse a choice, never make one."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.decision import Finished, NeedRun
from cluster.goal import Goal
from cluster.joint_loss import JointLoss
from cluster.model import Run
from cluster.needs import Policy, Spent
from cluster.search import Search
from cluster.selection import select
from runtime.bounds import Bounds
from runtime.configuration import Costs
from tests.cluster.worlds import Truth, World

QUIET = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
stated = st.fixed_dictionaries(
    {"latency": st.sampled_from(["45%", "60%", "90%"])},
    optional={"memory": st.sampled_from(["60%", "80%"]), "storage": st.sampled_from(["50%", "80%"])},
)


@pytest.fixture(scope="session")
def table(plan):
    return plan.table


@QUIET
@given(seed=st.integers(0, 10**6), bounds=stated, harsher=st.sampled_from([0.0, 3.0, 40.0]))
def test_without_a_loss_bound_evaluation_samples_decide_nothing(table, seed, bounds, harsher):
    usual, other = (
        World(Truth(seed, table, harsher=factor), Bounds.parse(bounds)) for factor in (1.0, harsher)
    )
    assert usual.walk() == other.walk()
    assert usual.walked == other.walked


@QUIET
@given(seed=st.integers(0, 10**6), objective=st.sampled_from(["loss", "latency", "memory"]))
def test_with_one_they_decide_nothing_until_they_refuse(table, seed, objective):
    """Up to the first run that breaks the loss bound both worlds take the same decisions."""
    bounds = Bounds.parse({"memory": "90%", "loss": "1pp"})
    usual, other = (
        World(Truth(seed, table, harsher=factor), bounds, objective=objective) for factor in (0.5, 1.5)
    )
    for world in (usual, other):
        world.walk()
    refused = [
        index
        for index, pair in enumerate(zip(usual.runs, other.runs, strict=False))
        if any(each.costs.loss_pp > 1.0 for each in pair)
    ]
    pairs = list(zip(usual.walked, other.walked, strict=False))
    if refused:
        asked = [index for index, (one, _) in enumerate(pairs) if isinstance(one, NeedRun)]
        pairs = pairs[: asked[refused[0]] + 1]
    assert all(one == another for one, another in pairs)
    assert refused or usual.walked == other.walked


def test_a_certificate_is_held_against_the_spread_of_its_sessions(table):
    """What kept its bound by less than its sessions differ goes behind what has more room."""
    world = World(Truth(3, table), Bounds.parse({"latency": "50%"}))
    knowledge = world.knowledge()
    selections = [select(table.uniform(name), knowledge.latency_s) for name in ("exact", "int8")]
    exact = Costs(1e-3, 1000, 1000, 0.0, 0.9)
    near, far = replace(exact, latency_s=0.47e-3), replace(exact, latency_s=0.46e-3)

    def verified(*spreads: float) -> Finished | None:
        pairs = zip(selections, (near, far), spreads, strict=True)
        runs = tuple(Run(selection, costs, exact, spread) for selection, costs, spread in pairs)
        goal, limits = Goal(world.bounds), world.bounds.resolve(exact)
        known = replace(knowledge, runs=runs, joint=joint)
        return Search(table, known, goal, Policy(5, 0.05), Spent(), limits).verified()

    joint = {
        each.variants: JointLoss(0.0, error, 1000)
        for each, error in zip(selections, (0.0, 0.01), strict=True)
    }
    assert verified(0.03, 0.03) == Finished("holds", selections[0])
    assert verified(0.10, 0.03) == Finished("holds", selections[1])
    # Neither has the room: what comes nearest to the exact network counts, not what has most room.
    assert verified(0.10, 0.30) == Finished("holds", selections[0])


def test_more_room_is_left_where_sessions_differ_more(table):
    world = World(Truth(3, table), Bounds.parse({"latency": "50%"}))
    exact = Costs(1e-3, 1000, 1000, 0.0, 0.9)
    selection = select(table.uniform("exact"), world.knowledge().latency_s)

    def aimed_s(spread: float) -> float | None:
        known = replace(world.knowledge(), runs=(Run(selection, exact, exact, spread),))
        limits = world.bounds.resolve(exact)
        return Search(table, known, Goal(world.bounds), Policy(5, 0.05), Spent(), limits).target().latency_s

    assert aimed_s(0.0) == aimed_s(0.02) == pytest.approx(0.475e-3)
    assert aimed_s(0.06) == pytest.approx(0.4575e-3)
    assert aimed_s(0.5) == aimed_s(0.1) == pytest.approx(0.4375e-3)
