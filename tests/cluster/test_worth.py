"""What is measured suffices: the choice is as good as with everything measured, within the tolerance."""

from dataclasses import dataclass, replace

import pytest

from cluster.decision import Policy
from cluster.model import Knowledge
from cluster.needs import Tolerance
from cluster.planning import ClassPlan
from runtime.bounds import Bounds
from tests.cluster.worlds import Truth, World

POLICY = Policy(rounds=5, headroom=0.05, tolerance=Tolerance(loss_pp=0.1, share=0.02))


@dataclass
class Honest(World):
    """Its error bars hold: no kernel is faster than it may be at best."""

    def knowledge(self) -> Knowledge:
        known = super().knowledge()
        at_best = {key: min(each, self.truth.kernel_s(key)) for key, each in known.at_best_s.items()}
        return replace(known, at_best_s=at_best)

    def loss_pp(self, variants: tuple[str, ...]) -> float:
        return self.knowledge().accuracy.curve.loss_pp(self.summed(variants))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("latency", ["35%", "50%", "70%"])
def test_the_choice_is_as_good_as_with_everything_measured(plan: ClassPlan, seed: int, latency: str) -> None:
    truth = Truth(seed, plan.table, noise=0.0)
    bounds = Bounds.parse({"latency": latency})
    economical = Honest(truth, bounds, POLICY)
    thorough = Honest(truth, bounds, POLICY, settled=set(plan.table.requests))
    few, all_of_them = economical.walk(), thorough.walk()
    assert few.verdict == all_of_them.verdict
    assert len(economical.settled) < len(thorough.settled)
    if few.verdict == "holds":
        least_pp = thorough.loss_pp(all_of_them.selection.variants)
        assert economical.loss_pp(few.selection.variants) <= least_pp + POLICY.tolerance.loss_pp + 1e-9


def test_what_cannot_change_the_choice_is_not_measured(plan: ClassPlan) -> None:
    truth, bounds = Truth(1, plan.table, noise=0.0, guess=0.0), Bounds.parse({"latency": "50%"})
    indifferent = Honest(truth, bounds, replace(POLICY, tolerance=Tolerance(loss_pp=100.0)))
    curious = Honest(truth, bounds, replace(POLICY, tolerance=Tolerance(loss_pp=0.0)))
    indifferent.walk()
    curious.walk()
    assert len(indifferent.settled) < len(curious.settled)


def test_when_the_budget_is_spent_what_is_measured_has_to_do(plan: ClassPlan) -> None:
    world = Honest(Truth(2, plan.table, noise=0.0), Bounds.parse({"latency": "50%"}), POLICY)
    while len(world.runs) < 2:
        world.step()
    known = set(world.settled)
    world.budget = True
    outcome = world.walk()
    assert world.settled == known
    assert outcome.verdict == "holds"
