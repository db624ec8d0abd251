"""The bounds benchmark: what it asks for, how answers are judged, what rivals are given."""

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.bounds_answers import Answer
from benchmarks.bounds_figures import compared, figures, won_or_tied
from benchmarks.bounds_optuna import Trial, best, read_trials, study
from benchmarks.bounds_rivals import (
    Losses,
    approximations,
    fastest,
    greedy,
    uniform,
    weighted_layers,
    within,
)
from benchmarks.bounds_triples import HALF, QUICK, Triple, all_triples, quick_triples
from cluster.choices import Choices
from cluster.device_result import DeviceResult
from cluster.problem import Option, Problem
from cost_model.loss_curve import LossCurve
from runtime.bounds import Bounds
from runtime.configuration import Certificate, Configuration, Costs
from tests.benchmarks.test_jobs import CERTIFICATE, COSTS
from tests.small_network import Small
from tracker.levels import LEVELS

TRIPLE = Triple("vgg16", "x86-64-v3", *HALF)
EXACT = Costs(1e-3, 1000, 2000, 0.0, 0.9)


def answer(triple: Triple = TRIPLE, loss_pp: float = 0.2, latency_s: float | None = 4e-4) -> Answer:
    """With a fresh session of that latency; None: it was infeasible."""
    certificate = replace(
        CERTIFICATE,
        exact_latency_s=EXACT.latency_s,
        exact_peak_bytes=EXACT.peak_bytes,
        exact_storage_bytes=EXACT.storage_bytes,
        latency_s=4e-4,
        peak_bytes=400,
        storage_bytes=500,
        loss_pp=loss_pp,
        verdict="best effort" if latency_s is None else "holds",
    )
    fresh: Certificate | None = None if latency_s is None else replace(certificate, latency_s=latency_s)
    configuration = Configuration("n", "ab" * 32, triple.device_class, "local", "llvm", (), COSTS)
    bounds = triple.goal.bounds
    nearest = {"latency": 1e-3} if latency_s is None else {}
    return Answer(
        triple, DeviceResult(configuration, bounds, bounds.resolve(EXACT), certificate, nearest), fresh
    )


def test_three_classes_are_asked_for_fifty_triples_and_more_of_each_network():
    triples = all_triples(LEVELS[:3])
    assert len(triples) == len(set(triples)) >= 300
    assert min(Counter((each.network, each.device_class) for each in triples).values()) >= 50
    assert all(each.bounds == HALF for each in triples[:6])
    quick = quick_triples(LEVELS[:3])
    assert len(set(quick)) == QUICK
    assert set(quick) <= set(triples)
    assert len({(each.network, each.device_class) for each in quick}) == 6


def test_a_bound_that_a_fresh_session_breaks_is_a_violation():
    kept, broken, infeasible = answer(), answer(latency_s=5.1e-4), answer(latency_s=None)
    assert [each.violated for each in (kept, broken, infeasible)] == [(), ("latency",), ()]
    found = figures([kept, broken, infeasible, Answer(TRIPLE, None)], {})
    assert (found["triples"], found["feasible"], found["violations"]) == (4, 2, 1)
    assert (found["infeasible_with_nearest"], found["not_handed_over"]) == (1, 1)
    assert found["blinknet_bounds_loss_pp"] == 0.2


@pytest.mark.parametrize(
    ("ours", "theirs", "good"),
    [(0.5, 0.5, True), (0.5, 0.41, True), (0.5, 0.3, False), (None, 0.3, False), (0.5, None, True)],
)
def test_what_counts_as_a_win_or_a_tie(ours: float | None, theirs: float | None, good: bool):
    assert won_or_tied(ours, theirs) == good


def test_a_rival_is_compared_where_it_was_tried():
    triples = [replace(TRIPLE, storage=each) for each in (100, 50, 25, 20)]
    answers = [answer(each, 0.5) for each in triples[:3]] + [answer(triples[3], latency_s=None)]
    found = compared(answers, {triples[0]: 0.9, triples[1]: None, triples[3]: None})
    assert found == {
        "triples": 2,
        "kept": 1,
        "mean_loss_pp": 0.9,
        "our_mean_loss_pp": 0.5,
        "wins_or_ties": 1.0,
    }


def option(layer: str, name: str, latency_s: float, size: int, divergence: float, forms: str) -> Option:
    reads, writes = forms.split(">")
    return Option(
        layer, f"{name} {forms}", latency_s, size, size, size, size, divergence, reads=reads, writes=writes
    )


@pytest.fixture
def choices() -> Choices:
    """Two layers: halving the second one is the better bargain, int8 needs both to agree."""
    first = (
        option("a", "exact", 5e-4, 500, 0.0, "f32>f32"),
        option("a", "channels(1/2)", 3e-4, 250, 0.02, "f32>f32"),
        option("a", "int8", 2e-4, 125, 0.001, "f32>u8"),
    )
    second = (
        option("b", "exact", 5e-4, 500, 0.0, "f32>f32"),
        option("b", "channels(1/2)", 2e-4, 250, 0.01, "f32>f32"),
        option("b", "int8", 2e-4, 125, 0.001, "u8>f32"),
    )
    problem = Problem((first, second), ((0, 1),))
    return Choices("lab.one", Bounds.parse({"latency": "50%"}), EXACT, 0.0, problem, LossCurve.fit([]))


def test_forms_agree_whatever_was_picked(choices: Choices):
    assert weighted_layers(choices.problem) == [0, 1]
    assert approximations(choices.problem, 0) == ["exact", "channels(1/2)", "int8"]
    both = fastest(choices.problem, {0: "int8", 1: "int8"})
    assert both is not None
    assert both.variants == ("int8 f32>u8", "int8 u8>f32")
    assert fastest(choices.problem, {0: "int8", 1: "exact"}) is None


def test_uniform_configurations_are_one_approximation_everywhere(choices: Choices):
    found = {each.method: each.solution.variants for each in uniform(choices, [Fraction(1, 2)])}
    assert found == {
        "uniform_int8": ("int8 f32>u8", "int8 u8>f32"),
        "uniform_channels": ("channels(1/2) f32>f32", "channels(1/2) f32>f32"),
    }


def test_greedy_takes_the_best_bargain_first_and_stops_inside_the_bounds(choices: Choices):
    floats = Problem(
        tuple(
            tuple(each for each in layer if "int8" not in each.variant) for layer in choices.problem.layers
        ),
        choices.problem.edges,
    )
    only = replace(choices, problem=floats)
    goal = Triple("vgg16", "v3", 75, 1000, 1000).goal
    found = greedy(only, goal)
    assert found is not None
    assert found.solution.variants == ("exact f32>f32", "channels(1/2) f32>f32")
    assert within(only, goal, found.solution)
    assert greedy(only, Triple("vgg16", "v3", 20, 1000, 1000).goal) is None


class Played:
    """A device on which everything runs as the table says."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices

    def trial(self, names: dict[int, str]) -> Trial:
        kept = {str(index): name for index, name in names.items()}
        solution = fastest(self.choices.problem, names)
        if solution is None:
            return Trial(kept, None, None, 100.0, 0.0)
        totals = solution.totals
        costs = Costs(totals.latency_s, totals.memory_bytes, totals.storage_bytes, 100 * totals.divergence)
        return Trial(kept, costs, EXACT, 100 * totals.divergence, 2.0)


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_a_study_goes_on_where_it_stopped(tmp_path: Path, choices: Choices, sampler: str):
    pytest.importorskip("optuna")
    path, bench = tmp_path / "trials.jsonl", Played(choices)

    def tried(count: int) -> list[Trial]:
        return study(sampler, bench, choices, path, lambda each: len(each) >= count, lambda: False)  # type: ignore[arg-type]

    assert [dict(each.names) for each in tried(2)] == [
        {"0": "exact", "1": "exact"},
        {"0": "int8", "1": "int8"},
    ]
    assert len(tried(12)) == 12
    assert read_trials(path) == tried(12)
    chosen = best(read_trials(path), Triple("vgg16", "v3", 45, 100, 100).goal)
    assert chosen is not None
    assert dict(chosen.names) == {"0": "int8", "1": "int8"}
    assert best(read_trials(path), Triple("vgg16", "v3", 1, 100, 100).goal) is None


def test_losses_of_rivals_are_counted_once_on_evaluation_samples(tmp_path: Path, small: Small):
    site = SimpleNamespace(material=SimpleNamespace(known=small.known, evaluation=small.samples))
    exact = ("exact f32>f32",) * len(small.network.layers)
    int8 = ("int8 f32>u8", "int8 u8>u8", "int8 u8>u8", "int8 u8>u8", "int8 u8>f32")
    losses = Losses(site, tmp_path / "losses.json")  # type: ignore[arg-type]
    assert losses.loss_pp(exact) == 0
    lost = losses.loss_pp(int8)
    assert abs(lost) <= 10
    kept = json.loads((tmp_path / "losses.json").read_text())
    assert kept["losses_pp"] == {json.dumps(exact): 0.0, json.dumps(int8): lost}
