"""Configuration, certificate and bundle of a device, with a small network that is really compiled."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import runtime
from cluster.certify import renewed
from cluster.decision import Finished
from cluster.delivery import Delivery, same_bundle
from cluster.device_result import DeviceResult, from_yaml, to_yaml
from cluster.errors import ClusterError
from cluster.goal import Goal
from cluster.ledger import Ledger, Scope
from cluster.planning import ClassPlan
from cluster.recorder import Recorder
from cluster.selection import Selection, select, selection_of
from cost_model.paired import loss_interval_pp
from cost_model.store import Store
from runtime.bounds import Bounds
from runtime.configuration import percentile_upper_bound
from tests.small_network import Small
from tracker.timing import Timing
from workers.accuracy import Bench, Effect, evaluate_layer, exact_answers
from workers.build import Executable, assemble_executable
from workers.device import RunResult

DEVICE = "lab.one"
BOUNDS = Bounds.parse({"latency": "50%@p80", "memory": "90%", "loss": "20pp"})


@dataclass(frozen=True, eq=False)
class Case:
    """A device that has run the exact configuration and the integer one."""

    ledger: Ledger
    delivery: Delivery
    exact: Selection
    int8: Selection
    executables: dict[Selection, Executable]
    answers: tuple[np.ndarray, ...]

    def result(self, verdict: str = "holds", **nearest: float | None) -> DeviceResult:
        return self.delivery.result(DEVICE, Finished(verdict, self.int8, nearest), rounds=2)


def seconds(start: float) -> tuple[float, ...]:
    return tuple(start * (1 + index / 100) for index in range(60))


@pytest.fixture(scope="module")
def case(small: Small, plan: ClassPlan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    scope = Scope(small.network.sha256, "c", "e", "k", "a", {"lab": BOUNDS.percentile}, 0.9)
    with Store(tmp_path_factory.mktemp("store") / "store.sqlite") as store:
        ledger = Ledger(store, scope, {"lab": plan.table})
        delivery = Delivery(small.network, {"lab": plan.target}, ledger, {"lab": Goal(BOUNDS)})
        recorder = Recorder(ledger, [each.name for each in small.network.layers], delivery.bundle_bytes)
        bench = Bench(small.known, small.samples)
        for layer, several in small.known.variants.items():
            names = sorted({each.approximation for each in several})
            recorder.layer_effects(layer, evaluate_layer(bench, layer, names, ()))
        timings = {
            request: Timing("f", 1, (1e-6,) * 6, converged=True)
            for candidate in (*plan.table.uniform("exact"), *plan.table.uniform("int8"))
            for step in candidate.steps
            for request in step.requests
        }
        recorder.timings(DEVICE, timings)
        exact, int8 = (
            select(plan.table.uniform(each), ledger.latencies()["lab"]) for each in ("exact", "int8")
        )
        executables = {each: compiled(small, plan, each) for each in (exact, int8)}
        answers = exact_answers(bench, small.samples.inputs, ())
        for selection, start, peak, correct in ((exact, 3e-4, 9000, 30), (int8, 1e-4, 5000, 28)):
            result = RunResult(seconds(start), seconds(3e-4), peak, answers)
            recorder.run(
                DEVICE, selection, result, Effect(0.01, correct, 40, 1, 31 - correct), executables[selection]
            )
        yield Case(ledger, delivery, exact, int8, executables, answers)


def compiled(small: Small, plan: ClassPlan, selection: Selection) -> Executable:
    fitted = {
        layer: small.fitted(layer, key) for layer, key in zip(small.layers, selection.variants, strict=True)
    }
    return assemble_executable(small.network, fitted, selection.tiles, plan.target, ())


def test_the_certificate_is_that_of_the_device_s_run(case: Case):
    certificate = case.result().certificate
    assert certificate is not None
    assert (certificate.device, certificate.runs, certificate.rounds) == (DEVICE, 60, 2)
    assert (certificate.percentile, certificate.confidence) == (80.0, 0.9)
    assert certificate.latency_s == percentile_upper_bound(seconds(1e-4), 80.0, 0.9)
    assert certificate.exact_latency_s == percentile_upper_bound(seconds(3e-4), 80.0, 0.9)
    assert (certificate.peak_bytes, certificate.exact_peak_bytes) == (5000, 9000)
    assert (certificate.accuracy, certificate.exact_accuracy, certificate.samples) == (28 / 40, 30 / 40, 40)
    assert certificate.loss_pp == pytest.approx(5.0)
    weighed = [each.storage_bytes for each in case.ledger.network_runs(DEVICE)]
    assert [certificate.exact_storage_bytes, certificate.storage_bytes] == weighed


def test_a_loss_has_an_interval_that_bears_as_many_looks_as_there_were(case: Case):
    certificate = case.result().certificate
    assert certificate is not None
    assert (certificate.answers_gained, certificate.answers_lost) == (1, 3)
    # Of two rounds either could have been refused for its loss.
    low, high = loss_interval_pp(1, 3, 40, 0.95)
    assert (certificate.loss_low_pp, certificate.loss_high_pp) == (low, high)
    assert low < certificate.loss_pp < high
    again = renewed(case.result(), RunResult(seconds(1e-4), seconds(3e-4), 5000, case.answers), 28 / 40, 40)
    assert (again.loss_low_pp, again.loss_high_pp) == (low, high)
    others = renewed(case.result(), RunResult(seconds(1e-4), seconds(3e-4), 5000, case.answers), 0.65, 40)
    assert (others.loss_low_pp, others.answers_lost) == (None, None)


@pytest.mark.parametrize(
    ("outcome", "verdict"), [("holds", "holds"), ("infeasible", "best effort"), ("unverified", "violated")]
)
def test_the_verdict_follows_the_outcome(case: Case, outcome: str, verdict: str):
    assert case.result(outcome).verdict == verdict


def test_limits_are_those_of_the_certificate(case: Case):
    result = case.result()
    assert result.certificate is not None
    assert result.bounds == BOUNDS
    assert result.limits.latency_s == pytest.approx(0.5 * result.certificate.exact_latency_s)
    assert result.limits.memory_bytes == pytest.approx(8100)


def test_the_configuration_says_what_was_chosen_and_why(case: Case, plan: ClassPlan):
    configuration = case.result().configuration
    assert selection_of(configuration) == case.int8
    assert (configuration.device, configuration.target) == (DEVICE, plan.target.key)
    assert all(each.measured for each in configuration.layers)
    assert sum(each.latency_s for each in configuration.layers) > 0
    # From the exact configuration's run, which its own run is not part of.
    first = case.ledger.network_runs(DEVICE)[0]
    assert configuration.predicted.peak_bytes > 0
    parameters = [each.parameter_bytes for each in case.delivery.exact_result(DEVICE).configuration.layers]
    saved = sum(parameters) - sum(each.parameter_bytes for each in configuration.layers)
    assert configuration.predicted.storage_bytes == first.storage_bytes - saved
    assert from_yaml(to_yaml(case.result())) == case.result()


def test_the_exact_result_states_no_bounds(case: Case):
    result = case.delivery.exact_result(DEVICE)
    assert selection_of(result.configuration) == case.exact
    assert (result.verdict, result.bounds) == ("holds", Bounds())
    assert result.certificate is not None
    assert result.certificate.loss_pp == 0


def test_a_bundle_takes_what_was_said_and_answers(case: Case, small: Small, tmp_path: Path):
    for result, share in ((case.result(), 0.8), (case.delivery.exact_result(DEVICE), 1.0)):
        selection = selection_of(result.configuration)
        # A folder each: a process keeps the library that it has once loaded from a path.
        folder = tmp_path / f"agreeing-{share}"
        bundle = case.delivery.write_bundle(folder, result, case.executables[selection])
        assert result.certificate is not None
        # The certificate is part of the bundle, and not yet issued when that is weighed.
        assert bundle.storage_bytes == pytest.approx(result.certificate.storage_bytes, abs=200)
        logits = runtime.load(folder).run(small.samples.x)
        assert (logits.argmax(axis=1) == case.answers[0].argmax(axis=1)).mean() >= share
    np.testing.assert_allclose(logits, case.answers[0], rtol=1e-4, atol=1e-5)


def test_a_bundle_that_is_there_stays_for_the_same_certificate_alone(case: Case, tmp_path: Path):
    result, folder = case.result(), tmp_path / "bundle"
    assert same_bundle(folder, result) is None
    written = case.delivery.write_bundle(folder, result, case.executables[case.int8])
    kept = same_bundle(folder, result)
    assert kept is not None
    assert kept.manifest == written.manifest
    assert result.certificate is not None
    slower = replace(result.certificate, latency_s=2 * result.certificate.latency_s)
    assert same_bundle(folder, replace(result, certificate=slower)) is None
    (folder / "parameters.bin").write_bytes(b"")
    assert same_bundle(folder, result) is None


def test_choices_hold_what_the_run_taught(case: Case):
    choices = case.delivery.choices(DEVICE, headroom=0.05)
    assert (choices.device, choices.bounds, choices.headroom) == (DEVICE, BOUNDS, 0.05)
    assert choices.exact == case.ledger.runs(DEVICE)[0].exact
    assert len(choices.problem.layers) == len(case.int8.variants)


def test_a_renewed_certificate_has_the_new_figures(case: Case):
    result = case.result()
    certificate = renewed(result, RunResult(seconds(1.2e-4), seconds(4e-4), 6000, case.answers), 0.65, 40)
    assert (certificate.verdict, certificate.runs, certificate.peak_bytes) == ("holds", 60, 6000)
    assert certificate.latency_s == percentile_upper_bound(seconds(1.2e-4), 80.0, 0.9)
    assert certificate.exact_latency_s == percentile_upper_bound(seconds(4e-4), 80.0, 0.9)
    assert certificate.loss_pp == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("start", "peak", "accuracy"), [(3e-4, 5000, 0.7), (1e-4, 8500, 0.7), (1e-4, 5000, 0.5)]
)
def test_a_renewed_certificate_tells_what_no_longer_holds(case: Case, start, peak, accuracy):
    run = RunResult(seconds(start), seconds(3e-4), peak, case.answers)
    assert renewed(case.result(), run, accuracy, 40).verdict == "violated"
    infeasible = case.result("infeasible", latency=1.0)
    assert renewed(infeasible, run, accuracy, 40).verdict == "best effort"


def test_nothing_is_renewed_that_was_never_issued(case: Case):
    bare = replace(case.result(), certificate=None)
    run = RunResult(seconds(1e-4), seconds(3e-4), 5000, case.answers)
    with pytest.raises(ClusterError, match=r"lab\.one has no certificate to renew; run `blinknet run` first"):
        renewed(bare, run, 0.7, 40)
