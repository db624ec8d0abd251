"""``decide`` for the fastest and the smallest configuration, on simulated devices."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.decision import NeedEvaluation, Policy, holds, is_uniform
from cluster.goal import Goal, Objective
from cluster.model import problem_of
from cluster.needs import Finished
from cluster.planning import ClassPlan
from cluster.problem import Limits
from cluster.solver import solve
from cluster.table import Table
from runtime.bounds import Bounds
from tests.cluster.worlds import Truth, World

QUIET = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

objectives = st.sampled_from(["latency", "memory", "storage"])
losses = st.sampled_from(["0pp", "0.3pp", "1pp", "2pp", "5pp", "20pp"])
others = st.fixed_dictionaries(
    {},
    optional={
        "latency": st.sampled_from(["0.01%", "60%", "90%", "1000%"]),
        "memory": st.sampled_from(["1%", "60%", "80%", "120%"]),
        "storage": st.sampled_from(["1%", "50%", "80%", "120%"]),
    },
)


@pytest.fixture(scope="session")
def table(plan: ClassPlan) -> Table:
    return plan.table


def world_of(truth: Truth, objective: Objective, policy: Policy | None = None, **bounds: str) -> World:
    return World(truth, Bounds.parse(bounds), policy or Policy(5, 0.05), objective=objective)


def run_of(world: World, outcome: Finished):
    return next(each for each in reversed(world.runs) if each.selection == outcome.selection)


def refusals(world: World) -> int:
    """Configurations that lost too much on the evaluation samples alone."""
    bound = world.bounds.resolve(world.runs[0].exact).loss_pp
    lost = {each.selection.variants for each in world.runs if each.costs.loss_pp > bound}
    return sum(world.joint[each].loss_pp <= bound for each in lost)


def surely_keeps(world: World, variants: tuple[str, ...]) -> bool:
    """The loss bound, with the confidence that is asked for now, on the samples that choices are made on."""
    bound = world.bounds.resolve(world.runs[0].exact).loss_pp
    return world.joint[variants].upper_pp(world.policy.confidence_after(refusals(world))) <= bound


def cost(world: World, variants: tuple[str, ...]) -> float:
    """What the device would really take."""
    costs = world.truth.costs(world.selected(variants), accuracy=0.9, session=1.0)
    return Goal(world.bounds, world.objective).cost(costs)


@QUIET
@given(
    seed=st.integers(0, 10**6),
    objective=objectives,
    loss=losses,
    bounds=others,
    rounds=st.integers(1, 4),
    evaluations=st.integers(1, 10),
    failing=st.sampled_from([0.0, 0.3]),
)
def test_every_walk_ends_with_the_truth(
    table, *, seed, objective, loss, bounds, rounds, evaluations, failing
):
    policy = Policy(rounds, 0.05, evaluations)
    world = world_of(Truth(seed, table, failing=failing), objective, policy, loss=loss, **bounds)
    outcome = world.walk()
    run = run_of(world, outcome)
    assert world.rounds <= rounds
    assert (outcome.verdict == "holds") == any(holds(each, world.bounds) for each in world.runs)
    assert (outcome.verdict == "holds") == holds(run, world.bounds)
    if outcome.verdict == "unverified":
        assert world.rounds == rounds
    assert bool(outcome.nearest) == (outcome.verdict == "infeasible")


@QUIET
@given(
    seed=st.integers(0, 10**6), objective=objectives, loss=losses, evaluations=st.sampled_from([1, 4, 8, 12])
)
def test_nothing_known_that_costs_less_keeps_the_loss_bound(table, seed, objective, loss, evaluations):
    world = world_of(Truth(seed, table, noise=0.0), objective, Policy(5, 0.05, evaluations), loss=loss)
    outcome = world.walk()
    chosen = outcome.selection.variants
    assert outcome.verdict == "holds"
    assert world.evaluated <= world.policy.evaluations_after(refusals(world))
    assert world.joint[chosen].loss_pp <= run_of(world, outcome).exact.loss_pp + float(
        loss.removesuffix("pp")
    )
    failed = {each.selection.variants for each in world.runs if not holds(each, world.bounds)}
    for variants in world.joint:
        if surely_keeps(world, variants) and variants not in failed:
            assert cost(world, chosen) <= cost(world, variants) * (1 + 1e-9)


@settings(QUIET, max_examples=12)
@given(seed=st.integers(0, 10**6), objective=objectives)
def test_given_time_nothing_cheaper_is_left_untried(table, seed, objective):
    """Up to the sums of divergences at which configurations surely lose too much."""
    world = world_of(Truth(seed, table, noise=0.0), objective, Policy(5, 0.05, 60), loss="1pp")
    chosen = world.walk().selection.variants
    low, problem = world.summed(chosen), problem_of(table, world.knowledge())
    high = min(
        (world.summed(each) for each, loss in world.joint.items() if loss.lower_pp(0.8) > 1), default=inf
    )
    for ratio in (1.1, 1.3, 1.6, 2.0, 3.0):
        other = solve(problem, Limits(divergence=ratio * low), objective).variants
        if ratio * low < high and cost(world, other) < cost(world, chosen):
            assert any(0.95 < world.summed(each) / world.summed(other) < 1.06 for each in world.joint)


@settings(QUIET, max_examples=8)
@given(seed=st.integers(0, 10**6), objective=objectives, loss=losses, bounds=others)
def test_the_same_knowledge_gives_the_same_decision(table, seed, objective, loss, bounds):
    first, second = (world_of(Truth(seed, table), objective, loss=loss, **bounds) for _ in range(2))
    assert first.walk() == second.walk()
    assert first.walked == second.walked
    assert first.decide() == first.walked[-1]


@pytest.mark.parametrize("objective", ["latency", "memory", "storage"])
def test_more_loss_buys_more(table, objective):
    reached = []
    for loss in ("0pp", "1pp", "20pp"):
        world = world_of(Truth(3, table, noise=0.0), objective, loss=loss)
        reached.append(Goal(world.bounds, objective).cost(run_of(world, world.walk()).costs))
    assert reached[0] > reached[1] > reached[2]


@pytest.mark.parametrize("objective", ["latency", "memory", "storage"])
def test_the_objective_is_what_is_least(table, objective):
    truth = Truth(11, table, noise=0.0)
    results = {each: world_of(truth, each, loss="3pp") for each in ("latency", "memory", "storage")}
    runs = {each: run_of(world, world.walk()).costs for each, world in results.items()}
    of = Goal(Bounds(), objective).cost
    assert of(runs[objective]) <= 1.05 * min(map(of, runs.values()))


def test_what_was_evaluated_for_others_costs_nothing(table):
    truth = Truth(5, table, noise=0.0)
    first = world_of(truth, "latency", Policy(5, 0.05, 30), loss="1pp")
    found = first.walk()
    second = world_of(truth, "latency", Policy(5, 0.05, 30), loss="1pp")
    second.joint, second.evaluations = dict(first.joint), list(first.evaluations)
    second.settled = set(first.settled)
    assert second.walk().selection == found.selection
    assert second.evaluated == 0


def test_a_configuration_that_lost_too_much_on_the_device_is_given_up(table):
    """Evaluation samples are harsher here than the ones that choices are made on."""
    truth = Truth(7, table, noise=0.0, harsher=3.0)
    world = world_of(truth, "latency", loss="1pp")
    outcome = world.walk()
    failed = [each for each in world.runs if not holds(each, world.bounds)]
    assert [each for each in failed if not is_uniform(table, each.selection.variants)]
    assert outcome.verdict == "holds"
    assert run_of(world, outcome).costs.loss_pp <= 1


def test_a_session_that_disturbed_the_exact_configuration_makes_nothing_faster(table):
    world = world_of(Truth(2, table, noise=0.0), "latency", loss="1pp")
    outcome = world.walk()
    other = next(index for index, each in enumerate(world.runs) if each.selection != outcome.selection)
    exact = world.runs[other].exact
    world.runs[other] = replace(world.runs[other], exact=replace(exact, latency_s=50 * exact.latency_s))
    assert world.decide() == outcome


def test_bounds_that_nothing_keeps_are_told_as_ever(table):
    world = world_of(Truth(4, table, noise=0.0), "storage", latency="0.01%", loss="50pp")
    outcome = world.walk()
    assert outcome.verdict == "infeasible"
    assert set(outcome.nearest) == {"latency", "loss"}


def test_no_more_is_evaluated_than_is_allowed_for(table):
    for seed in range(6):
        world = world_of(Truth(seed, table), "latency", Policy(5, 0.05, 2), loss="2pp")
        world.walk()
        asked = [each for each in world.walked if isinstance(each, NeedEvaluation)]
        free = [each for each in asked if is_uniform(table, each.selection.variants)]
        assert len(asked) - len(free) <= 2 * (1 + refusals(world))


def test_the_first_try_is_bold_and_the_last_one_sure():
    policy = Policy(rounds=5, headroom=0.05, confidence=0.9)
    asked = [policy.confidence_after(refusals) for refusals in range(7)]
    assert asked == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9])
    assert Policy(rounds=1, headroom=0.05, confidence=0.9).confidence_after(0) == 0.9


def upper_ends(table: Table, seed: int, harsher: float) -> list[float]:
    """Of the losses of everything that ran, in this order."""
    world = world_of(Truth(seed, table, noise=0.0, harsher=harsher), "latency", loss="1pp")
    assert run_of(world, world.walk()).costs.loss_pp <= 1
    tried = [each.selection.variants for each in world.runs]
    return [world.joint[each].upper_pp(0.95) for each in tried if not is_uniform(table, each)]


def test_a_loss_that_was_counted_is_enough_for_the_first_try(table):
    (only,) = upper_ends(table, seed=2, harsher=1.0)
    assert only > 1


def test_a_refusal_makes_the_next_try_more_cautious(table):
    refused, kept = upper_ends(table, seed=1, harsher=1.3)
    assert kept < 1 < refused
