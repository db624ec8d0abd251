"""The oracle benchmark on a simulated device and network, where everything is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.oracle import Found, contest, figures
from benchmarks.oracle_network import Measured, Variants, configurations, some
from cluster.planning import ClassPlan
from cost_model.measurement import Evaluation, configuration_key
from runtime.bounds import Bounds
from tests.cluster.conftest import plan  # noqa: F401 - a fixture
from tests.cluster.worlds import EXACT_CORRECT, SAMPLES, Truth, World


class Answers:
    """What the simulated network answers, evaluated in no time."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._alone = World(truth, Bounds()).evaluations

    def alone(self) -> list[Evaluation]:
        return self._alone

    def jointly(self, variants: Variants) -> Evaluation:
        table = self._truth.table
        chosen = [table.candidate(index, key) for index, key in enumerate(variants)]
        divergence = sum(self._truth.divergence(each.layer, each.approximation) for each in chosen)
        correct = EXACT_CORRECT - round(SAMPLES * min(0.8, 0.5 * divergence))
        named = {each.layer: each.key for each in chosen}
        return Evaluation("n", "s", configuration_key(named), "v", SAMPLES, correct, divergence)


@pytest.fixture
def known(plan: ClassPlan) -> Measured:  # noqa: F811
    table = plan.table
    seconds = {each: Truth(5, table).kernel_s(each) for each in table.requests}
    layers = tuple(tuple(some(candidates, seconds, most=2)) for candidates in table.layers)
    return Measured(None, replace(table, layers=layers), seconds)  # type: ignore[arg-type]


def test_where_layers_add_up_the_search_finds_what_the_oracle_knows(known: Measured) -> None:
    found, count = contest(known, Answers(Truth(5, known.table)))  # type: ignore[arg-type]
    assert count == len(set(configurations(known.table))) > 5
    said = figures(found, count)
    assert said["bounds"] == 20
    assert said["feasible"] == sum(each.oracle_pp is not None for each in found) > 5
    assert said["gap_to_oracle_pp"] == 0
    assert all(each.rounds <= 5 for each in found)


def test_a_choice_that_breaks_its_bounds_is_no_choice() -> None:
    assert Found(Bounds(), 1.0, None, 0, 0).gap_pp == float("inf")
    assert Found(Bounds(), None, None, 0, 0).gap_pp == 0
    assert Found(Bounds(), 1.0, 1.25, 0, 0).gap_pp == 0.25
