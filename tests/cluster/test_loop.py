"""The whole loop on a simulated site: real store, coordinator and decisions; devices and Ray are made up."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayTaskError, WorkerCrashedError

from cluster.budget import UNLIMITED, Budget
from cluster.coordinator import Coordinator
from cluster.decision import Finished, Policy, holds
from cluster.events import Build, Evaluate, EvaluateJointly, Measure, Profile, RunConfiguration
from cluster.fleet import Changes, Sight
from cluster.goal import Goal
from cluster.ledger import Ledger, Scope
from cluster.loop import DEATHS, Describe, Loop, TakeFingerprint, Terms
from cluster.model import predict
from cluster.planning import ClassPlan, common_requests, first_requests
from cluster.recorder import Recorder
from cluster.rounds import Rounds
from cluster.selection import Selection, places_of, requests_of
from cluster.watch import STRIKES
from cost_model.device_event import DeviceEvent
from cost_model.fingerprint import Fingerprint, fingerprint_event
from cost_model.store import Store
from network.errors import NetworkError
from runtime.bounds import Bounds
from tests.cluster.worlds import EXACT_CORRECT, SAMPLES, Truth
from tracker.device import Description, DeviceKey
from tracker.drift import Drift
from tracker.failure import Failure, FailureKind
from tracker.timing import Timing
from workers.accuracy import Effect, LayerEffects
from workers.build import Executable, Library
from workers.device import BatchResult, RunResult
from workers.profile import KernelInContext, NetworkInContext, ProfileResult

ONE, TWO = DeviceKey("lab", "one"), DeviceKey("lab", "two")
BOUNDS = Bounds.parse({"latency": "80%", "loss": "10pp"})


def describe(key: DeviceKey) -> Description:
    core = {"one": (0,), "two": (1,)}[key.unit]
    return Description("x86_64", "", (), 2, 0, None, None, "host", core, 1, "blinknet")


@dataclass
class Crew:
    """Everything is through at once, in any order; ``fault`` may make something else of a result."""

    random: Random
    fault: Callable[[Any, Any], Any]
    pending: list[tuple[Any, Any]] = field(default_factory=list)
    dismissed: list[DeviceKey] = field(default_factory=list)

    def device(self, key: DeviceKey) -> Any:
        description = describe(key)
        return SimpleNamespace(key=key, describe=SimpleNamespace(remote=lambda: description))

    def dismiss(self, key: DeviceKey) -> None:
        self.dismissed.append(key)

    def start(self, command: Any, reference: Any) -> None:
        self.pending.append((command, reference))

    def forget(self, unwanted: Callable[[Any], bool]) -> None:
        self.pending = [each for each in self.pending if not unwanted(each[0])]

    def collect(self, _: float) -> Iterator[tuple[Any, Any]]:
        if self.pending:
            command, result = self.pending.pop(self.random.randrange(len(self.pending)))
            yield command, self.fault(command, result)


@dataclass
class Work:
    """Results as the truth has them."""

    truth: Truth
    anchors: dict[str, tuple[str, ...]]
    speeds: Mapping[str, float] = field(default_factory=dict)
    oddities: Mapping[str, float] = field(default_factory=dict)
    last: Selection | None = None
    libraries: dict[int, set[str]] = field(default_factory=dict)
    dies: Callable[[Selection], bool] = lambda _: False
    """Whether a selection runs only without a memory limit."""
    profiles: list[tuple[Selection, ...]] = field(default_factory=list)
    limits: list[tuple[Selection, int | None]] = field(default_factory=list)

    def build(self, batch: Any) -> Library:
        self.libraries[batch.number] = set(batch.requests)
        return Library(b"", {each: each for each in batch.requests}, {})

    def settled(self, _: str, requests: Iterable[str]) -> None:
        left = {number: each.difference(requests) for number, each in self.libraries.items()}
        self.libraries = {number: each for number, each in left.items() if each}

    def measure(self, actor: Any, batch: Any) -> BatchResult:
        assert batch.number in self.libraries
        failed = Failure("refused", "it does not work", str(actor.key), "time")
        return BatchResult(
            {
                each: self._timing(each, self._speed(actor)) if self.truth.works(each) else failed
                for each in batch.requests
            }
        )

    def fingerprint(self, actor: Any, device_class: str, memory_bytes: int) -> DeviceEvent:
        return fingerprint_event(str(actor.key), describe(actor.key), Fingerprint(1, 2, 3, 4), 1000.0)

    def evaluate(self, layer: str, names: tuple[str, ...]) -> LayerEffects:
        divergences = {name: self.truth.divergence(layer, name) for name in names if name != "exact"}
        exact = Effect(0.0, EXACT_CORRECT, SAMPLES)
        return LayerEffects(
            exact, {name: Effect(each, self._correct(each), SAMPLES) for name, each in divergences.items()}
        )

    def evaluate_jointly(self, variants: tuple[str, ...]) -> Effect:
        selection = Selection(variants, ())
        return Effect(0.1, self.truth.correct(selection, "calibration"), SAMPLES)

    def run(
        self, actor: Any, device_class: str, selection: Selection, exact: Selection, limit_bytes: int | None
    ) -> RunResult:
        self.last = selection
        self.limits.append((selection, limit_bytes))
        seconds, reference = (
            (self._speed(actor) * self._network_s(actor, each, each == exact),) * 100
            for each in (selection, exact)
        )
        over = limit_bytes is not None and self.dies(selection)
        peak = limit_bytes + 1 if over and limit_bytes else 50_000
        return RunResult(seconds, reference, peak, (np.zeros((1, 4), np.float32),))

    def profile(self, actor: Any, device_class: str, selections: tuple[Selection, ...]) -> ProfileResult:
        self.profiles.append(selections)
        return ProfileResult(tuple(self._in_context(actor, each) for each in selections))

    def _in_context(self, actor: Any, selection: Selection) -> NetworkInContext:
        """Each kernel takes a tenth more at its place than alone."""
        kernels = tuple(
            KernelInContext(layer, 0, request, (1.1 * self._speed(actor) * self.truth.kernel_s(request),) * 3)
            for layer, request in places_of(self.truth.table, selection)
        )
        return NetworkInContext(kernels, clock_s=0.0, rest_s=2e-5 * self._speed(actor))

    def deployed(self, device_class: str, selection: Selection) -> Executable:
        self.last = selection
        return Executable(b"", (), 0, 0)

    def effect(self, logits: Any) -> Effect:
        assert self.last is not None
        return Effect(0.1, self.truth.correct(self.last, "evaluation"), SAMPLES)

    def missing_features(self, device_class: str, description: Description) -> tuple[str, ...]:
        return ()

    def _network_s(self, actor: Any, selection: Selection, exact: bool) -> float:
        kernels_s = sum(map(self.truth.kernel_s, requests_of(self.truth.table, selection)))
        return (1.1 * kernels_s + 2e-5) * (1.0 if exact else self.oddities.get(actor.key.unit, 1.0))

    def _speed(self, actor: Any) -> float:
        return self.speeds.get(actor.key.unit, 1.0)

    def _timing(self, request: str, speed: float) -> Timing:
        return Timing("f", 1, (speed * self.truth.kernel_s(request),) * 6, converged=True)

    @staticmethod
    def _correct(divergence: float) -> int:
        return EXACT_CORRECT - round(SAMPLES * min(0.8, 0.5 * divergence))


@dataclass
class Fleet:
    """Who comes and goes with each poll."""

    script: list[tuple[set[DeviceKey], set[DeviceKey]]]
    banned: set[DeviceKey] = field(default_factory=set)
    tracker_away_s: float = 0.0
    tracker: str = "nowhere"

    def look(self) -> Sight:
        return Sight({})

    def changes(self, _: Sight) -> Changes:
        joined, lost = self.script.pop(0) if self.script else (set(), set())
        return Changes(frozenset(joined), dict.fromkeys(lost, "it is gone"))

    def listen_to(self, key: DeviceKey) -> None:
        pass

    def let_return(self, key: DeviceKey, *, heard: bool = False) -> None:
        self.script.append(({key}, set()))

    def pardon(self, key: DeviceKey) -> bool:
        return False

    def quarantine(self, key: DeviceKey) -> float:
        self.banned.add(key)
        return 600.0


@dataclass
class Site:
    """A loop with everything around it."""

    plan: ClassPlan
    folder: Path
    fault: Callable[[Any, Any], Any] = lambda _, result: result
    script: list[tuple[set[DeviceKey], set[DeviceKey]]] = field(default_factory=lambda: [({ONE}, set())])
    truth: Truth | None = None
    patience_s: float = 0.2
    bounds: Bounds = BOUNDS
    speeds: Mapping[str, float] = field(default_factory=dict)
    """Of units, where they are not all the same."""
    oddities: Mapping[str, float] = field(default_factory=dict)
    """What any but the exact configuration takes on a unit, by what it should take there."""
    common: int = 0
    shared: bool = False
    dies: Callable[[Selection], bool] = lambda _: False
    budget: Budget = UNLIMITED
    profiled: int = 0
    """Different kernels that a profile may have."""

    def play(self, seed: int = 1) -> Coordinator:
        table = self.plan.table
        truth = self.truth or Truth(31, table)
        scope = Scope("n", "c", "e", "k", "a", {"lab": BOUNDS.percentile}, 0.95)
        approximations = {
            layer[0].layer: tuple(dict.fromkeys(each.approximation for each in layer))
            for layer in table.layers
        }
        with Store(self.folder / "store.sqlite") as store:
            ledger = Ledger(store, scope, {"lab": table})
            wanted = [each for each in first_requests(table, 0.25) if each not in ledger.settled("lab")]
            layers = [
                each for each, names in approximations.items() if ledger.missing_approximations(each, names)
            ]
            coordinator = Coordinator(
                {"lab": wanted},
                layers,
                common={"lab": common_requests(table, self.common)},
                measured=ledger.measured_by(),
                shared=["lab"] if self.shared else [],
                batch_size=4,
            )
            recorder = Recorder(ledger, list(approximations), lambda *_: 30_000)
            self.fleet, self.crew = Fleet(list(self.script)), Crew(Random(seed), self.fault)
            rounds = Rounds(self.folder / "rounds.json", "terms")
            terms = Terms(
                {"lab": Goal(self.bounds)},
                Policy(5, 0.05, profiled=self.profiled),
                self.patience_s,
                self.budget,
            )
            self.work = work = Work(truth, approximations, self.speeds, self.oddities, dies=self.dies)
            Loop(coordinator, ledger, recorder, rounds, self.crew, self.fleet, work, terms).run(
                lambda _: None
            )
            self.factors = {unit: each.factor for unit, each in ledger.factors("lab").items()}
            self.measured = store.unit_measurements("lab", table.target, "k")
            self.readings = store.context_readings("lab", table.target, "k")
            self.predicted = {
                str(key): predict(table, replace(known, runs=known.runs[:1]), known.runs[-1].selection)
                for key in (ONE, TWO)
                if (known := ledger.knowledge(str(key))).runs
            }
            self.runs = {str(key): ledger.runs(str(key)) for key in (ONE, TWO)}
            self.rows, self.failures = store.count(), ledger.failures("lab")
            self.story = [(each.device, each.kind) for each in store.device_events()]
            self.events = store.device_events()
            del self.rows["device_events"]
        return coordinator


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.watch.LOOK_EVERY_S", 0.0)


def assert_holds(site: Site, coordinator: Coordinator, *devices: DeviceKey) -> None:
    assert coordinator.outcomes.keys() == {str(each) for each in devices}
    for device, outcome in coordinator.outcomes.items():
        assert isinstance(outcome, Finished)
        assert outcome.verdict == "holds"
        run = next(each for each in site.runs[device] if each.selection == outcome.selection)
        assert holds(run, BOUNDS)


@pytest.mark.parametrize("seed", range(3))
def test_two_devices_get_their_configurations(plan: ClassPlan, tmp_path: Path, seed: int) -> None:
    site = Site(plan, tmp_path, script=[({ONE, TWO}, set())])
    assert_holds(site, site.play(seed), ONE, TWO)


def test_a_second_play_does_nothing_anew(plan: ClassPlan, tmp_path: Path) -> None:
    site = Site(plan, tmp_path)
    first = site.play()
    rows = site.rows
    assert_holds(site, site.play(), ONE)
    assert site.rows == rows
    assert first.outcomes == site.play().outcomes


def test_a_budget_ends_measuring_and_the_best_of_what_is_known_is_verified(
    plan: ClassPlan, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    whole = Site(plan, tmp_path / "whole")
    whole.play()
    site = Site(plan, tmp_path, budget=Budget(measurements=40))
    assert_holds(site, site.play(), ONE)
    assert len(site.measured) < len(whole.measured)


def test_kernels_are_read_at_their_places_once_and_predict_what_runs(plan: ClassPlan, tmp_path: Path) -> None:
    site = Site(plan, tmp_path, script=[({ONE, TWO}, set())], common=3, profiled=30)
    site.speeds = {"two": 1.5}
    site.shared = True
    assert_holds(site, site.play(), ONE, TWO)
    assert len(site.work.profiles) == 1
    assert {each.device for each in site.readings} == {str(TWO)}  # The slower one searches for both.
    assert len({each.kernel for each in site.readings}) <= 30
    for device, costs in site.predicted.items():
        assert costs.latency_s == pytest.approx(site.runs[device][-1].costs.latency_s, rel=0.02)
    site.play()
    assert site.work.profiles == []


def test_a_profile_that_fails_holds_up_nothing(plan: ClassPlan, tmp_path: Path) -> None:
    def fail(command: Any, result: Any) -> Any:
        return (
            Failure("crash", "no memory", command.device, "profile")
            if isinstance(command, Profile)
            else result
        )

    site = Site(plan, tmp_path, fail, profiled=30)
    assert_holds(site, site.play(), ONE)
    assert len(site.work.profiles) == 1
    assert site.readings == ()


def kinds(site: Site, device: DeviceKey) -> list[str]:
    return [each.kind for each in site.events if each.device == str(device)]


def test_every_device_has_its_fingerprint_taken_once(plan: ClassPlan, tmp_path: Path) -> None:
    site = Site(plan, tmp_path, script=[({ONE, TWO}, set())])
    site.play()
    assert [kinds(site, each).count("fingerprint") for each in (ONE, TWO)] == [1, 1]
    site.play()
    assert [kinds(site, each).count("fingerprint") for each in (ONE, TWO)] == [1, 1]


def test_a_fingerprint_that_cannot_be_taken_is_told_and_holds_up_nothing(
    plan: ClassPlan, tmp_path: Path
) -> None:
    def refuse(command: Any, result: Any) -> Any:
        if isinstance(command, TakeFingerprint):
            return Failure("refused", "no such function", command.device, "time")
        return result

    site = Site(plan, tmp_path, refuse)
    assert_holds(site, site.play(), ONE)
    told = [each for each in site.events if each.kind == "fault"]
    assert [each.device for each in told] == [str(ONE)]
    assert "no such function" in told[0].reason


def test_a_drift_becomes_part_of_the_device_s_story(plan: ClassPlan, tmp_path: Path) -> None:
    drift = Drift(0.25, 4e-5, 5e-5, 8)

    def slow(command: Any, result: Any) -> Any:
        return replace(result, drift=drift) if isinstance(command, Measure) else result

    site = Site(plan, tmp_path, slow)
    assert_holds(site, site.play(), ONE)
    event = next(each for each in site.events if each.kind == "drift")
    assert (event.device, event.reason) == (str(ONE), "25% slower than at the beginning of the batch")
    assert event.facts == asdict(drift)


@pytest.mark.parametrize("kind", [Measure, EvaluateJointly, Profile, RunConfiguration])
def test_a_device_that_leaves_in_the_middle_goes_on_when_it_is_back(
    plan: ClassPlan, tmp_path: Path, kind: type
) -> None:
    site = Site(plan, tmp_path, patience_s=30.0, profiled=30)
    left: list[Any] = []

    def leave(command: Any, result: Any) -> Any:
        started = [each for each, _ in site.crew.pending if isinstance(each, kind)]
        if started and not left:
            left.extend(started)
            site.fleet.script = [(set(), {ONE}), ({ONE}, set())]
        return result

    site.fault = leave
    # The one task that is under way is slow: whatever else happens comes before it.
    slow = pytest.MonkeyPatch()
    slow.setattr(Crew, "collect", _collect_last_of(kind, site, leave))
    with slow.context():
        coordinator = site.play()
    slow.undo()
    assert left
    assert site.crew.dismissed == [ONE]
    assert_holds(site, coordinator, ONE)


def _collect_last_of(kind: type, site: Site, notice: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def collect(crew: Crew, _: float) -> Iterator[tuple[Any, Any]]:
        notice(None, None)
        if any(each == (set(), {ONE}) for each in site.fleet.script):
            return
        if crew.pending:
            yield crew.pending.pop(0)

    return collect


@pytest.mark.parametrize("units", [(ONE,), (ONE, TWO)])
def test_a_request_that_kills_sessions_is_recorded_and_the_rest_is_measured(
    plan: ClassPlan, tmp_path: Path, units: tuple[DeviceKey, ...]
) -> None:
    deadly = next(each for each in first_requests(plan.table, 0.25) if plan.table.samples[each].integer)

    def crash(command: Any, result: Any) -> Any:
        if isinstance(command, Measure) and deadly in command.batch.requests:
            done = command.batch.requests[: command.batch.requests.index(deadly)]
            failure = Failure("crash", "the session died", command.device, "time")
            return BatchResult({each: result.timings[each] for each in done}, deadly, failure)
        return result

    site = Site(plan, tmp_path, crash, script=[(set(units), set())])
    assert_holds(site, site.play(), *units)
    assert list(site.failures) == [deadly]
    assert "it ended 2 sessions, the last one on lab." in site.failures[deadly]


def test_kernels_that_do_not_compile_are_recorded(plan: ClassPlan, tmp_path: Path) -> None:
    wrong = next(each for each in first_requests(plan.table, 0.25) if plan.table.samples[each].integer)

    def break_one(_: Any, result: Any) -> Any:
        if isinstance(result, Library) and wrong in result.symbols:
            return Library(
                b"", {each: each for each in result.symbols if each != wrong}, {wrong: "no schedule"}
            )
        return result

    site = Site(plan, tmp_path, break_one)
    assert_holds(site, site.play(), ONE)
    assert list(site.failures) == [wrong]


def test_a_machine_that_cannot_build_ends_the_run_and_blames_no_kernel(
    plan: ClassPlan, tmp_path: Path
) -> None:
    def no_linker(_: Any, result: Any) -> Any:
        error = NetworkError("nothing here links")
        return RayTaskError("build", "trace", error) if isinstance(result, Library) else result

    with pytest.raises(NetworkError, match="nothing here links"):
        Site(plan, tmp_path, no_linker).play()
    with Store(tmp_path / "store.sqlite") as store:
        assert store.count()["measurements"] == 0


def test_what_dies_of_its_memory_limit_does_not_hold_and_another_is_found(
    plan: ClassPlan, tmp_path: Path
) -> None:
    died: list[Selection] = []

    def first_choices(selection: Selection) -> bool:
        exact = selection.variants == plan.table.uniform_variants("exact")
        if selection not in died and len(died) < 2 and not exact:
            died.append(selection)
        return selection in died

    bounds = Bounds.parse({"latency": "80%", "memory": "90000B", "loss": "10pp"})
    site = Site(plan, tmp_path, bounds=bounds, dies=first_choices)
    outcome = site.play().outcomes[str(ONE)]
    assert {limit for _, limit in site.work.limits} == {90_000}
    assert isinstance(outcome, Finished)
    assert (outcome.verdict, outcome.selection in died) == ("holds", False)
    violations = [each for each in site.runs[str(ONE)] if each.selection in died]
    assert len(violations) == 2
    assert all("memory" in bounds.resolve(each.exact).violated(each.costs) for each in violations)
    assert not [each for each in site.events if each.kind == "fault"]


def test_a_share_of_the_exact_configuration_s_memory_limits_what_comes_after_it(
    plan: ClassPlan, tmp_path: Path
) -> None:
    bounds = Bounds.parse({"latency": "80%", "memory": "150%", "loss": "10pp"})
    site = Site(plan, tmp_path, bounds=bounds)
    site.play()
    assert [limit for _, limit in site.work.limits][:2] == [None, 75_000]


def test_a_device_that_never_gives_anything_is_kept_away(plan: ClassPlan, tmp_path: Path) -> None:
    def dead(command: Any, result: Any) -> Any:
        if getattr(command, "device", None) == str(TWO) and isinstance(command, Measure | RunConfiguration):
            failure = Failure("unreachable", "no answer", command.device, "open")
            return BatchResult({}, failure=failure) if isinstance(command, Measure) else failure
        return result

    site = Site(plan, tmp_path, dead, script=[({ONE, TWO}, set())])
    coordinator = site.play()
    assert isinstance(coordinator.outcomes[str(ONE)], Finished)
    assert isinstance(coordinator.outcomes[str(TWO)], str)
    assert site.fleet.banned == {TWO}
    assert (str(TWO), "quarantined") in site.story


@pytest.mark.parametrize("kind", ["tracker", "busy"])
def test_what_is_not_the_device_s_fault_is_not_held_against_it(
    plan: ClassPlan, tmp_path: Path, kind: FailureKind
) -> None:
    failing = iter(range(5 * STRIKES))

    def away(command: Any, result: Any) -> Any:
        if isinstance(command, Measure) and next(failing, None) is not None:
            return BatchResult({}, failure=Failure(kind, "try again", command.device, "open"))
        return result

    site = Site(plan, tmp_path, away, patience_s=30.0)
    assert_holds(site, site.play(), ONE)
    assert site.fleet.banned == set()
    assert next(failing, None) is None


def test_work_whose_process_dies_is_done_again(plan: ClassPlan, tmp_path: Path) -> None:
    deaths: Counter[type] = Counter()

    def die(command: Any, result: Any) -> Any:
        deaths[type(command)] += 1
        often = 2 if isinstance(command, Describe | Measure | RunConfiguration) else DEATHS
        return WorkerCrashedError() if deaths[type(command)] < often else result

    site = Site(plan, tmp_path, die)
    assert_holds(site, site.play(), ONE)
    assert not site.failures
    assert {Build, Measure, Evaluate, EvaluateJointly} <= deaths.keys()


def test_a_device_that_stays_away_does_not_hold_up_the_others(plan: ClassPlan, tmp_path: Path) -> None:
    site = Site(plan, tmp_path, script=[({ONE, TWO}, set()), (set(), set()), (set(), {TWO})])
    coordinator = site.play()
    assert isinstance(coordinator.outcomes[str(ONE)], Finished)
    assert "run the same command again" in str(coordinator.outcomes[str(TWO)])
    assert coordinator.abandoned == {}


def test_a_class_whose_only_device_stays_away_is_given_up(plan: ClassPlan, tmp_path: Path) -> None:
    site = Site(plan, tmp_path, script=[({ONE}, set()), (set(), set()), (set(), {ONE})])
    coordinator = site.play()
    assert coordinator.outcomes.keys() <= {str(ONE)}
    assert "no usable device of class lab" in coordinator.abandoned["lab"]
    assert "run the same command again" in coordinator.abandoned["lab"]
