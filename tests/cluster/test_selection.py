"""Selections: the fastest known tile of every kernel, and what measurements say of them."""

import pytest

from cluster.planning import ClassPlan
from cluster.selection import (
    Selection,
    candidate_latency_s,
    candidates_of,
    kernels_s,
    requests_of,
    select,
    step_latency_s,
    unmeasured,
)
from cluster.table import Candidate, StepChoices, Table
from network.variants import Form

TWO = StepChoices("a", ((8, 1), (4, 2)), ("a 8,1", "a 4,2"))
ONE = StepChoices("b", ((),), ("b",))
BOTH = Candidate("conv", "int8 f32>u8", "int8", Form("float32"), Form("uint8"), (TWO, ONE), 100, 200, 50)
NONE = Candidate("pool", "exact f32>f32", "exact", Form("float32"), Form("float32"), (), 0, 50, 0)
TABLE = Table("n", "lab", "t", ((BOTH,), (NONE,)), ((0, 1),), {}, 0, ((), ()))


def test_the_fastest_known_tile_is_chosen():
    assert select([BOTH], {"a 8,1": 2.0, "a 4,2": 1.0, "b": 3.0}).tiles == (((4, 2), ()),)
    assert select([BOTH], {"a 8,1": 2.0, "b": 3.0}).tiles == (((8, 1), ()),)


def test_between_equals_the_more_promising_tile_is_chosen():
    assert select([BOTH], {"a 8,1": 1.0, "a 4,2": 1.0}).tiles == (((8, 1), ()),)


def test_of_the_unknown_the_most_promising_tile_is_chosen():
    assert select([BOTH], {}).tiles == (((8, 1), ()),)
    assert step_latency_s(TWO, {}) == float("inf")


def test_a_candidate_takes_the_sum_of_its_kernels():
    assert candidate_latency_s(BOTH, {"a 8,1": 2.0, "a 4,2": 1.0, "b": 3.0}) == 4.0
    assert candidate_latency_s(BOTH, {"a 4,2": 1.0}) == float("inf")
    assert candidate_latency_s(NONE, {}) == 0


def test_a_selection_is_timed_with_its_own_tiles():
    selection = Selection((BOTH.key, NONE.key), (((8, 1), ()), ()))
    assert candidates_of(TABLE, selection) == (BOTH, NONE)
    assert requests_of(TABLE, selection) == ("a 8,1", "b")
    assert kernels_s(TABLE, selection, {"a 8,1": 2.0, "a 4,2": 1.0, "b": 3.0}) == 5.0


def test_all_tiles_of_a_selection_are_to_be_measured():
    selection = select([BOTH, NONE], {})
    assert unmeasured(TABLE, selection, frozenset()) == ("a 8,1", "a 4,2", "b")
    assert unmeasured(TABLE, selection, {"a 8,1", "b"}) == ("a 4,2",)
    assert unmeasured(TABLE, selection, {"a 8,1", "a 4,2", "b"}) == ()


def test_a_key_is_the_selection(plan: ClassPlan):
    for name in ("exact", "int8", "channels(1/2)"):
        selection = select(plan.table.uniform(name), {})
        assert Selection.from_key(selection.key) == selection
        assert hash(Selection.from_key(selection.key)) == hash(selection)


@pytest.mark.parametrize("name", ["exact", "int8", "channels(1/2)"])
def test_a_uniform_configuration_agrees_on_its_element_types(plan: ClassPlan, name: str):
    chosen = plan.table.uniform(name)
    assert [each.layer for each in chosen] == [layer[0].layer for layer in plan.table.layers]
    assert {each.approximation for each in chosen} <= {name, "exact"}
    assert all(chosen[left].writes == chosen[right].reads for left, right in plan.table.edges)
    assert (str(chosen[0].reads), str(chosen[-1].writes)) == ("f32", "f32")
