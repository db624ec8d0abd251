"""Configurations that together hold every variant that is wanted."""

from dataclasses import replace
from random import Random

import pytest

from cluster.context_plan import covering, to_profile
from cluster.model import Knowledge
from cluster.planning import ClassPlan
from cluster.selection import candidate_latency_s, candidates_of, places_of, requests_of
from cluster.table import Candidate, StepChoices, Table
from network.variants import Form
from runtime.bounds import Bounds
from tests.cluster.worlds import Truth, World

F32, U8 = Form("float32"), Form("uint8")


@pytest.fixture(scope="module")
def table(plan: ClassPlan) -> Table:
    return plan.table


def pairs_of(table: Table) -> set[tuple[str, str]]:
    return {(each.layer, each.key) for candidates in table.layers for each in candidates}


def known(table: Table) -> dict[str, float]:
    random = Random(5)
    return {request: random.uniform(1e-6, 1e-3) for request in table.requests}


def held_by(table: Table, selections) -> set[tuple[str, str]]:
    return {(each.layer, each.key) for selection in selections for each in candidates_of(table, selection)}


def agree(table: Table, selection) -> bool:
    chosen = candidates_of(table, selection)
    return all(chosen[source].writes == chosen[reader].reads for source, reader in table.edges)


def test_every_variant_is_held_and_neighbours_agree(table: Table):
    selections = covering(table, pairs_of(table), known(table))
    assert held_by(table, selections) == pairs_of(table)
    assert all(agree(table, each) for each in selections)
    richest = max(map(len, table.layers))
    assert richest <= len(selections) <= 2 * richest


def test_where_forms_are_free_it_takes_as_many_as_the_richest_layer_has_variants(table: Table):
    plain = replace(
        table,
        layers=tuple(
            tuple(each for each in candidates if each.reads == each.writes == F32)
            for candidates in table.layers
        ),
    )
    selections = covering(plain, pairs_of(plain), known(table))
    assert held_by(plain, selections) == pairs_of(plain)
    assert len(selections) == max(map(len, plain.layers))


def test_a_subset_takes_no_more_than_it_needs(table: Table):
    layer = table.layers[1]
    wanted = {(each.layer, each.key) for each in layer[:2]}
    selections = covering(table, wanted, known(table))
    assert len(selections) == 2
    assert held_by(table, selections) >= wanted
    assert covering(table, set(), known(table)) == ()
    assert len(covering(table, pairs_of(table), known(table), most=3)) == 3


def test_the_same_question_has_the_same_answer(table: Table):
    latency_s, wanted = known(table), pairs_of(table)
    forwards, backwards = (dict.fromkeys(sorted(wanted, reverse=each)).keys() for each in (False, True))
    assert covering(table, forwards, latency_s) == covering(table, backwards, latency_s)


def test_each_kernel_has_its_fastest_tile(table: Table):
    latency_s = known(table)
    for selection in covering(table, pairs_of(table), latency_s):
        for candidate, requests in zip(
            candidates_of(table, selection), by_layer(table, selection), strict=True
        ):
            fastest = [min(step.requests, key=latency_s.__getitem__) for step in candidate.steps]
            assert list(requests) == fastest


def by_layer(table: Table, selection) -> list[tuple[str, ...]]:
    places = places_of(table, selection)
    assert tuple(request for _, request in places) == requests_of(table, selection)
    return [
        tuple(request for name, request in places if name == candidates[0].layer)
        for candidates in table.layers
    ]


def test_what_works_with_no_tile_is_left_out(table: Table):
    broken = table.layers[1][0]
    latency_s = known(table)
    for request in broken.steps[0].requests:
        del latency_s[request]
    for selection in covering(table, pairs_of(table), latency_s):
        assert not set(requests_of(table, selection)) & set(broken.steps[0].requests)


def branched() -> Table:
    """One layer read by two, whose outputs meet: a residual block in float32 or in uint8."""

    def candidate(layer: str, reads: Form, writes: Form, name: str = "exact") -> Candidate:
        step = StepChoices(f"{layer} {name}", ((1,),), (f"{layer} {name} {reads}>{writes}",))
        return Candidate(layer, f"{name} {reads}>{writes}", name, reads, writes, (step,), 0, 0, 0)

    both = [(F32, F32), (F32, U8), (U8, U8), (U8, F32)]
    layers = (
        tuple(candidate("first", F32, each) for each in (F32, U8)),
        tuple(candidate("branch", *each) for each in both),
        tuple(candidate("sum", each, F32) for each in (F32, U8)),
    )
    return Table("n", "lab", "t", layers, ((0, 1), (0, 2), (1, 2)), {}, 0, ((), (), ()))


def test_tensors_that_meet_have_one_form():
    table = branched()
    latency_s = {step.requests[0]: 1.0 for layer in table.layers for each in layer for step in each.steps}
    selections = covering(table, pairs_of(table), latency_s)
    assert all(agree(table, each) for each in selections)
    # What reads float32 and writes uint8 fits no sum: the layer it reads is summed up with it.
    unfit = {("branch", "exact f32>u8"), ("branch", "exact u8>f32")}
    assert held_by(table, selections) == pairs_of(table) - unfit


@pytest.fixture(scope="module")
def knowledge(table: Table) -> Knowledge:
    """Everything measured."""
    world = World(Truth(11, table), Bounds.parse({"latency": "45%"}))
    world.settled = set(table.requests)
    return world.knowledge()


def test_a_profile_holds_what_is_fast_or_loses_little(table: Table, knowledge: Knowledge):
    selections = to_profile(table, knowledge, most=1000)
    held = held_by(table, selections)
    for candidates in table.layers:
        exact = [each for each in candidates if each.approximation == "exact"]
        fastest = min(exact, key=lambda each: candidate_latency_s(each, knowledge.latency_s))
        assert (fastest.layer, fastest.key) in held
    assert all(agree(table, each) for each in selections)


def test_a_profile_takes_no_more_kernels_than_it_may(table: Table, knowledge: Knowledge):
    def kernels(most: int) -> int:
        chosen = to_profile(table, knowledge, most)
        return len({request for each in chosen for request in requests_of(table, each)})

    assert kernels(0) == 0
    assert 0 < kernels(12) <= 12 < kernels(24) <= 24


def test_only_what_was_measured_is_profiled(table: Table, knowledge: Knowledge):
    exact = {step.requests[0] for each in table.uniform("exact") for step in each.steps}
    (selection,) = to_profile(table, replace(knowledge, settled=frozenset(exact)), 1000)
    assert set(requests_of(table, selection)) == exact
