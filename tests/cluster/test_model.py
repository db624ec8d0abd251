"""Predictions from kernels, corrected by runs."""

from dataclasses import replace

import pytest

from cluster.model import (
    Knowledge,
    end_to_end_of,
    footprint_bytes,
    memory_offset_bytes,
    network_s,
    planned_peak_bytes,
    predict,
    problem_of,
    storage_offset_bytes,
)
from cluster.planning import ClassPlan
from cluster.problem import totals_of
from cluster.selection import kernels_s, places_of, requests_of, select
from cluster.table import Table
from cost_model.in_context import InContext, Reading
from runtime.bounds import Bounds
from tests.cluster.worlds import Truth, World


@pytest.fixture(scope="module")
def table(plan: ClassPlan) -> Table:
    return plan.table


@pytest.fixture(scope="module")
def knowledge(table: Table) -> Knowledge:
    """Everything measured, exact and integers run without noise."""
    world = World(Truth(11, table, noise=0.0, guess=0.0), Bounds.parse({"latency": "45%", "loss": "20pp"}))
    world.walk()
    world.settled = set(table.requests)
    assert len(world.runs) > 2
    return replace(world.knowledge(), runs=tuple(world.runs[:2]))


def test_without_runs_kernels_add_up(table, knowledge):
    bare = replace(knowledge, runs=())
    for name in ("exact", "int8"):
        selection = select(table.uniform(name), bare.latency_s)
        costs = predict(table, bare, selection)
        assert costs.latency_s == pytest.approx(kernels_s(table, selection, bare.latency_s))
        assert costs.peak_bytes == planned_peak_bytes(table, selection)
        assert costs.storage_bytes == sum(each.parameter_bytes for each in table.uniform(name))
    assert (memory_offset_bytes(table, bare), storage_offset_bytes(table, bare)) == (0, 0)


def test_two_runs_tell_scale_and_overhead(table, knowledge):
    correction = end_to_end_of(table, knowledge)
    assert correction.scale == pytest.approx(1.1, rel=1e-3)
    assert correction.overhead_s == pytest.approx(2e-5, rel=1e-3)


def in_context(table, knowledge, read):
    """With the kernels of these selections read at their places, where they take a fifth more and 1 µs."""
    readings = [
        Reading(
            place,
            footprint_bytes(table, requests_of(table, selection)),
            1.2 * knowledge.latency_s[place[1]] + 1e-6,
        )
        for selection in read
        for place in places_of(table, selection)
    ]
    sizes = {key: each.work.parameter_bytes for key, each in table.samples.items()}
    return replace(knowledge, context=InContext(readings, 5e-6, knowledge.latency_s, sizes))


def test_kernels_count_as_they_do_at_their_places(table, knowledge):
    exact, integer = (select(table.uniform(name), knowledge.latency_s) for name in ("exact", "int8"))
    placed = in_context(table, replace(knowledge, runs=()), [exact])
    for selection in (exact, integer):  # The second one is modelled after the first.
        kernels = kernels_s(table, selection, knowledge.latency_s)
        expected = 1.2 * kernels + 1e-6 * len(requests_of(table, selection)) + 5e-6
        assert predict(table, placed, selection).latency_s == pytest.approx(expected, rel=0.01)
        options = problem_of(table, placed).layers
        chosen = [
            next(each for each in layer if each.variant == key)
            for layer, key in zip(options, selection.variants, strict=True)
        ]
        total = sum(each.latency_s for each in chosen) + problem_of(table, placed).latency_offset_s
        assert total == pytest.approx(predict(table, placed, selection).latency_s)


def test_runs_tell_how_far_the_percentile_is_above_what_was_read(table, knowledge):
    exact = select(table.uniform("exact"), knowledge.latency_s)
    placed = in_context(table, knowledge, [run.selection for run in knowledge.runs])
    tail = end_to_end_of(table, placed).scale
    run = knowledge.runs[-1]
    at_least = network_s(table, placed, run.selection) + placed.context.rest_s
    assert tail >= run.costs.latency_s / at_least * (1 - 1e-9)
    assert predict(table, placed, exact).latency_s > 0


def test_a_slow_session_says_nothing_of_the_configuration(table, knowledge):
    first, second = knowledge.runs
    costs, exact = (replace(each, latency_s=3 * each.latency_s) for each in (second.costs, second.exact))
    slow = replace(knowledge, runs=(first, replace(second, costs=costs, exact=exact)))
    assert end_to_end_of(table, slow).scale == pytest.approx(end_to_end_of(table, knowledge).scale)


def test_runs_correct_memory_and_storage(table, knowledge):
    assert memory_offset_bytes(table, knowledge) == 50_000
    assert storage_offset_bytes(table, knowledge) == 30_000


def test_the_solver_sees_what_is_predicted(table, knowledge):
    problem = problem_of(table, knowledge)
    mixed = (*table.uniform("exact")[:2], *table.uniform("int8")[2:])
    selection = select(mixed, knowledge.latency_s)
    choice = [
        [option.variant for option in options].index(key)
        for options, key in zip(problem.layers, selection.variants, strict=True)
    ]
    totals, costs = totals_of(problem, choice), predict(table, knowledge, selection)
    assert totals.latency_s == pytest.approx(costs.latency_s)
    assert (totals.memory_bytes, totals.storage_bytes) == (costs.peak_bytes, costs.storage_bytes)
    assert knowledge.accuracy.curve.loss_pp(totals.divergence) == pytest.approx(costs.loss_pp)


def test_a_run_does_not_predict_itself(table, knowledge):
    exact, int8 = (each.selection for each in knowledge.runs)
    kernels = kernels_s(table, exact, knowledge.latency_s)
    assert predict(table, knowledge, exact).latency_s == pytest.approx(kernels)
    before = replace(knowledge, runs=knowledge.runs[:1])
    assert predict(table, knowledge, int8) == predict(table, before, int8)
    assert predict(table, knowledge, int8).latency_s != pytest.approx(knowledge.runs[1].costs.latency_s)


def test_what_fails_on_the_device_is_no_option(table, knowledge):
    int8 = select(table.uniform("int8"), knowledge.latency_s)
    failing = set(requests_of(table, int8)) - set(
        requests_of(table, select(table.uniform("exact"), knowledge.latency_s))
    )
    gone = {
        step
        for layer in table.layers
        for each in layer
        for step in each.steps
        if failing & set(step.requests)
    }
    seconds = {
        key: value
        for key, value in knowledge.latency_s.items()
        if not any(key in step.requests for step in gone)
    }
    problem = problem_of(table, replace(knowledge, latency_s=seconds, runs=knowledge.runs[:1]))
    for candidates, options in zip(table.layers, problem.layers, strict=True):
        working = [each.key for each in candidates if not gone & set(each.steps)]
        assert [each.variant for each in options] == working
    assert any(len(options) < len(layer) for options, layer in zip(problem.layers, table.layers, strict=True))


def test_the_latest_run_of_a_selection_counts(knowledge):
    first, second = knowledge.runs
    later = replace(second, costs=replace(second.costs, peak_bytes=1))
    known = replace(knowledge, runs=(first, second, later))
    assert known.run_of(second.selection) == known.run_of_variants(second.selection.variants) == later
    assert known.run_of(replace(second.selection, tiles=())) is None
