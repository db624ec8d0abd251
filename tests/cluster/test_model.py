"""Predictions from kernels, corrected by runs."""

from dataclasses import replace

import pytest

from cluster.model import (
    Knowledge,
    end_to_end_of,
    memory_offset_bytes,
    planned_peak_bytes,
    predict,
    problem_of,
    storage_offset_bytes,
)
from cluster.planning import ClassPlan
from cluster.problem import totals_of
from cluster.selection import kernels_s, requests_of, select
from cluster.table import Table
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
