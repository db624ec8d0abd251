"""What a run writes into a real store, and what it finds there when it is started again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster.joint_loss import JointLoss
from cluster.ledger import Ledger, Scope, class_of
from cluster.planning import ClassPlan
from cluster.recorder import Recorder
from cluster.selection import Selection, places_of, select
from cost_model.errors import CostModelError
from cost_model.store import Store
from tracker.failure import Failure
from tracker.timing import Timing
from workers.accuracy import Effect, LayerEffects
from workers.build import Executable
from workers.device import RunResult
from workers.profile import KernelInContext, NetworkInContext, ProfileResult

DEVICE = "lab.one"
SCOPE = Scope("net", "calibration", "evaluation", "kernels 1", "accuracies 1", {"lab": 90.0}, 0.9)
EXECUTABLE = Executable(b"library", (("w", np.zeros(8, np.float32)),), 10, 20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened


@pytest.fixture
def ledger(store: Store, plan: ClassPlan) -> Ledger:
    return Ledger(store, SCOPE, {"lab": plan.table})


def recorder(ledger: Ledger) -> Recorder:
    names = [layer[0].layer for layer in ledger.tables["lab"].layers]
    return Recorder(ledger, names, lambda run, answers, executable: 1000 + len(executable.library))


def again(ledger: Ledger, store: Store, **changes: str) -> Ledger:
    """As another process would see it."""
    return Ledger(store, replace(ledger.scope, **changes), ledger.tables)


def timing(seconds: float) -> Timing:
    return Timing("f", 10, (seconds,) * 6, converged=True)


def run_result(seconds: float, exact_seconds: float) -> RunResult:
    return RunResult((seconds,) * 50, (exact_seconds,) * 50, 5000, np.zeros((3, 4), np.float32))


def evaluate_everything(ledger: Ledger) -> None:
    """Each approximation alone; nothing is lost."""
    for candidates in ledger.tables["lab"].layers:
        effects = {
            each.approximation: Effect(0.01, 89, 100) for each in candidates if each.approximation != "exact"
        }
        recorder(ledger).layer_effects(candidates[0].layer, LayerEffects(Effect(0.0, 90, 100), effects))


def uniform(ledger: Ledger, name: str) -> Selection:
    return select(ledger.tables["lab"].uniform(name), {})


def test_marked_measurements_are_counted_and_weigh_less(ledger: Ledger, store: Store):
    one, two, three, *_ = ledger.tables["lab"].requests
    wide = replace(timing(1e-5), seconds=(1e-5, 2e-5) * 3, converged=False)
    drifted = replace(timing(1e-5), conditions={"drift": 0.5, "reference_s": 3e-5})
    recorder(ledger).timings(DEVICE, {one: timing(1e-5), two: wide, three: drifted})
    recorder(ledger).failures("lab", {"broken": "no schedule"})
    for each in (ledger, again(ledger, store)):
        marks = each.marks(DEVICE)
        assert (marks.measurements, marks.marked) == (3, 2)
        assert marks.counts == {"spread": 1, "drift": 1}
        weights = {sample.kernel: sample.weight for sample in each.samples()}
        assert weights[one] == 1
        assert max(weights[two], weights[three]) < 0.5
    words = "2 of its 3 measurements are marked: 1 with a wide spread, 1 corrected for drift"
    assert str(marks) == words
    assert ledger.marks("lab.nobody").marked == 0


def test_timings_and_failures_settle_requests(ledger: Ledger, store: Store):
    first, second, third, *_ = ledger.tables["lab"].requests
    refused = Failure("refused", "wrong argument", DEVICE, "time f")
    recorder(ledger).timings(DEVICE, {first: timing(2e-6), second: refused})
    recorder(ledger).failures("lab", {third: "it does not compile"})
    for each in (ledger, again(ledger, store)):
        assert each.settled("lab") == {first, second, third}
        assert each.latencies()["lab"][first] == 2e-6
        assert {second, third}.isdisjoint(each.latencies()["lab"])
        assert set(each.failures("lab")) == {second, third}
        assert "wrong argument" in each.failures("lab")[second]
        assert "it does not compile" in each.failures("lab")[third]


def profile(ledger: Ledger, selection: Selection, seconds: float) -> ProfileResult:
    """Every kernel takes as long, and the clock a tenth of that."""
    kernels = tuple(
        KernelInContext(layer, 0, request, (1.1 * seconds, 5 * seconds, 1.1 * seconds))
        for layer, request in places_of(ledger.tables["lab"], selection)
    )
    return ProfileResult((NetworkInContext(kernels, clock_s=0.1 * seconds, rest_s=seconds),))


def test_what_kernels_take_at_their_places_is_kept_and_known(ledger: Ledger, store: Store):
    evaluate_everything(ledger)
    exact = uniform(ledger, "exact")
    assert ledger.knowledge(DEVICE).context is None
    recorder(ledger).profile(DEVICE, [exact], profile(ledger, exact, 2e-5))
    for each in (ledger, again(ledger, store)):
        context = each.knowledge(DEVICE).context
        assert context is not None
        for place in places_of(each.tables["lab"], exact):
            assert context.at(context.usual_bytes).seconds(place, 1e-6, 0) == pytest.approx(2e-5)
        assert context.rest_s == pytest.approx(2e-5)
    silent = Ledger(store, replace(ledger.scope, context=False), ledger.tables)
    assert silent.knowledge(DEVICE).context is None
    stale = again(ledger, store, kernel_versions="kernels 2")
    assert stale.knowledge(DEVICE).context is None


def test_a_slower_unit_reads_for_a_faster_one(ledger: Ledger):
    evaluate_everything(ledger)
    requests, exact = ledger.tables["lab"].requests, uniform(ledger, "exact")
    for device, speed in {"lab.one": 1.0, "lab.two": 1.5, "lab.three": 0.8}.items():
        common = {each: timing(speed * 1e-6 * (1 + n)) for n, each in enumerate(requests[:3])}
        recorder(ledger).timings(device, common, each_unit=True)
    recorder(ledger).profile("lab.two", [exact], profile(ledger, exact, 3e-5))
    place = places_of(ledger.tables["lab"], exact)[0]
    for device, expected in (("lab.two", 3e-5), ("lab.one", 2e-5), ("lab.three", 1.6e-5)):
        context = ledger.knowledge(device).context
        assert context is not None
        assert context.at(context.usual_bytes).seconds(place, 1e-6, 0) == pytest.approx(expected)


def test_raw_repeats_are_kept(ledger: Ledger, store: Store, plan: ClassPlan):
    key = plan.table.requests[0]
    recorder(ledger).timings(DEVICE, {key: Timing("f", 7, (3e-6, 1e-6, 2e-6), converged=False)})
    found = store.measurements("lab", plan.table.target, "kernels 1")[key]
    assert (found.seconds, found.number, found.converged, found.device) == (
        (3e-6, 1e-6, 2e-6),
        7,
        False,
        DEVICE,
    )


def test_other_versions_know_nothing_of_it(ledger: Ledger, store: Store):
    recorder(ledger).timings(DEVICE, {ledger.tables["lab"].requests[0]: timing(1e-6)})
    evaluate_everything(ledger)
    assert not again(ledger, store, kernel_versions="kernels 2").settled("lab")
    assert again(ledger, store).missing_approximations("conv2", ["int8"]) == ()
    for change in ({"accuracy_versions": "accuracies 2"}, {"calibration": "others"}, {"network": "another"}):
        assert again(ledger, store, **change).missing_approximations("conv2", ["int8"]) == ("int8",)


def test_what_was_not_measured_is_predicted_once_something_was(ledger: Ledger):
    requests = ledger.tables["lab"].requests
    assert ledger.latencies() == {"lab": {}}
    recorder(ledger).timings(DEVICE, {each: timing(1e-6 * (1 + n)) for n, each in enumerate(requests[::2])})
    latencies = ledger.latencies()["lab"]
    assert set(latencies) == set(requests)
    assert min(latencies.values()) > 0
    assert [each.kernel for each in ledger.samples()] == sorted(requests[::2])
    assert ledger.latencies() is ledger.latencies()


def test_times_of_a_class_are_those_of_its_middle_unit(ledger: Ledger, store: Store):
    """Common requests tell how fast each unit is; what one of them measured holds for all, by the factor."""
    requests = ledger.tables["lab"].requests
    speeds = {"lab.one": 1.0, "lab.two": 1.5, "lab.three": 0.8}
    for device, speed in speeds.items():
        common = {each: timing(speed * 1e-6 * (1 + n)) for n, each in enumerate(requests[:3])}
        recorder(ledger).timings(device, common, each_unit=True)
    recorder(ledger).timings("lab.two", {requests[4]: timing(1.5e-5)})
    for each in (ledger, again(ledger, store)):
        factors = {unit: found.factor for unit, found in each.factors("lab").items()}
        assert factors == pytest.approx(speeds)
        assert each.latencies()["lab"][requests[4]] == pytest.approx(1e-5)
        assert each.latencies()["lab"][requests[2]] == pytest.approx(3e-6)
        assert each.slowest_first(sorted(speeds)) == ("lab.two", "lab.one", "lab.three")
        assert each.measured_by()["lab.two"] == {*requests[:3], requests[4]}
        assert each.settled("lab") == {*requests[:3], requests[4]}
    evaluate_everything(ledger)
    for device, speed in speeds.items():
        assert ledger.knowledge(device).latency_s[requests[4]] == pytest.approx(speed * 1e-5)


def test_what_failed_on_one_unit_and_works_on_another_is_no_failure(ledger: Ledger):
    request = ledger.tables["lab"].requests[0]
    refused = Failure("refused", "no memory", "lab.two", "time f")
    recorder(ledger).timings("lab.two", {request: refused}, each_unit=True)
    assert set(ledger.failures("lab")) == {request}
    recorder(ledger).timings("lab.one", {request: timing(1e-6)}, each_unit=True)
    assert ledger.failures("lab") == {}
    assert ledger.latencies()["lab"][request] == 1e-6


def test_layers_lack_what_was_not_evaluated(ledger: Ledger):
    names = ("exact", "int8", "channels(1/2)")
    assert ledger.missing_approximations("conv2", names) == names
    effects = LayerEffects(Effect(0.0, 90, 100), {"int8": Effect(0.01, 89, 100)})
    recorder(ledger).layer_effects("conv2", effects)
    assert ledger.missing_approximations("conv2", names) == ("channels(1/2)",)
    assert ledger.missing_approximations("conv1", names) == names[1:]


def test_nothing_is_known_before_the_exact_network_was_evaluated(ledger: Ledger):
    with pytest.raises(CostModelError, match="exact configuration was never evaluated"):
        ledger.accuracy()


def test_joint_losses_are_those_of_whole_configurations(ledger: Ledger, store: Store):
    evaluate_everything(ledger)
    variants = uniform(ledger, "int8").variants
    recorder(ledger).joint_effect(variants, Effect(0.05, 85, 100))
    for each in (ledger, again(ledger, store)):
        knowledge = each.knowledge(DEVICE)
        exact = uniform(ledger, "exact").variants
        assert knowledge.joint == {
            exact: JointLoss(0.0, 0.0, 100),
            variants: JointLoss(pytest.approx(5.0), 0.05, 100),
        }
        assert knowledge.divergence["conv2", "int8"] == 0.01
        assert knowledge.divergence["conv2", "exact"] == 0
        assert knowledge.runs == ()


def test_runs_are_known_with_their_answers_and_the_exact_one_beside_them(ledger: Ledger, store: Store):
    evaluate_everything(ledger)
    exact, int8 = uniform(ledger, "exact"), uniform(ledger, "int8")
    assert (ledger.runs(DEVICE), ledger.exact_selection(DEVICE)) == ([], None)
    write = recorder(ledger)
    write.run(DEVICE, exact, run_result(3e-4, 3e-4), Effect(0.0, 90, 100), EXECUTABLE)
    write.run(DEVICE, int8, run_result(1e-4, 4e-4), Effect(0.05, 88, 100), EXECUTABLE)
    write.run("lab.two", exact, run_result(9e-4, 9e-4), Effect(0.0, 90, 100), EXECUTABLE)
    for each in (ledger, again(ledger, store)):
        first, second = each.knowledge(DEVICE).runs
        assert (first.selection, second.selection) == (exact, int8) == (each.exact_selection(DEVICE), int8)
        assert (second.costs.latency_s, second.exact.latency_s) == (1e-4, 4e-4)
        assert second.costs.loss_pp == pytest.approx(2.0)
        assert (second.costs.storage_bytes, second.costs.peak_bytes) == (1007, 5000)
        assert (first.costs.accuracy, second.exact.accuracy) == (0.9, 0.9)
        assert [run.exact.latency_s for run in each.runs("lab.two")] == [9e-4]


def test_a_run_without_an_exact_one_says_nothing_yet(ledger: Ledger):
    evaluate_everything(ledger)
    recorder(ledger).run(
        DEVICE, uniform(ledger, "int8"), run_result(1e-4, 1e-4), Effect(0.1, 80, 100), EXECUTABLE
    )
    assert ledger.runs(DEVICE) == []
    assert len(ledger.network_runs(DEVICE)) == 1


def test_the_same_configuration_can_run_twice(ledger: Ledger, store: Store):
    evaluate_everything(ledger)
    exact = uniform(ledger, "exact")
    for seconds in (3e-4, 5e-4):
        recorder(ledger).run(DEVICE, exact, run_result(seconds, seconds), Effect(0.0, 90, 100), EXECUTABLE)
    runs = again(ledger, store).runs(DEVICE)
    assert [each.costs.latency_s for each in runs] == [3e-4, 5e-4]
    assert store.count()["runs"] == 2


def test_a_class_is_what_stands_before_the_dot():
    assert class_of("x86-64-v3.unit.02") == "x86-64-v3"
