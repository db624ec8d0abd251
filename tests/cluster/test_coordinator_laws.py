"""The coordinator's laws under anything that can happen to a fleet, at any moment, in any order."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.coordinator import CRASHES_BEFORE_DISCARD, Coordinator
from cluster.decision import Decision, Finished, NeedEvaluation, NeedMeasurements, NeedRun
from cluster.events import (
    Build,
    Built,
    Command,
    Decide,
    Decided,
    DeviceJoined,
    DeviceLost,
    Discard,
    Evaluate,
    Evaluated,
    EvaluateJointly,
    Event,
    JointlyEvaluated,
    Measure,
    Measured,
    Ran,
    RunConfiguration,
)
from cluster.selection import Selection

SELECTION = Selection(("exact f32>f32",), (((8, 1),),))
WANTED = {"a": [f"k{i}" for i in range(9)], "b": [f"k{i}" for i in range(5)]}
CORES = {"a.1": {"h/0"}, "a.2": {"h/0", "h/1"}, "a.3": {"i/0"}, "b.1": {"h/1"}, "b.2": {"j/0"}}


class Fleet(RuleBasedStateMachine):
    """Devices join, leave and come back; sessions, builds and runs fail or succeed."""

    def __init__(self) -> None:
        super().__init__()
        self.coordinator = Coordinator(WANTED, ["conv1", "conv2"], batch_size=4, build_slots=2)
        self.pending: list[Command] = []
        self.online: set[str] = set()
        self.joined: set[str] = set()
        self.measured: Counter[tuple[str, str]] = Counter()
        self.given_up: set[tuple[str, str]] = set()
        self.crashes: Counter[tuple[str, str]] = Counter()
        self.steps: Counter[str] = Counter()
        self.outcomes: set[str] = set()
        self.asked = {name: set(keys) for name, keys in WANTED.items()}
        self.failed_runs: Counter[str] = Counter()

    # --- what can happen

    @rule(device=st.sampled_from(sorted(CORES)))
    def join(self, device: str) -> None:
        self.online.add(device)
        self.joined.add(device)
        self.tell(DeviceJoined(device, device[0], frozenset(CORES[device])))

    @precondition(lambda self: self.online)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(sorted(self.online)))
        self.online.remove(device)
        self.pending = [
            each
            for each in self.pending
            if not (isinstance(each, Measure | RunConfiguration) and each.device == device)
        ]
        self.tell(DeviceLost(device, "unplugged"))

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), luck=st.sampled_from(["good", "good", "bad", "worse"]))
    def get_done(self, data: st.DataObject, luck: str) -> None:
        command = self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1)))
        match command:
            case Build(batch):
                self.built(command, batch.requests[:1] if luck == "bad" else ())
            case Measure(_, batch):
                reached = data.draw(st.integers(0, len(batch.requests) - 1))
                self.timed(command, None if luck == "good" else reached, blame=luck == "worse")
            case RunConfiguration(device):
                self.ran(device, None if luck == "good" else "no memory")
            case EvaluateJointly(device):
                self.tell(JointlyEvaluated(device))
            case Evaluate(layer):
                self.tell(Evaluated(layer))

    # --- what follows from it

    def tell(self, event: Event) -> None:
        """Like the loop: thoughts are answered at once, all of one event's before the next is told."""
        events = deque([event])
        while events:
            for command in self.coordinator.handle(events.popleft()):
                match command:
                    case Decide(device):
                        events.append(Decided(device, self.decide(device)))
                    case Discard(device_class, request):
                        assert self.crashes[device_class, request] == CRASHES_BEFORE_DISCARD
                        self.given_up.add((device_class, request))
                    case _:
                        self.pending.append(command)
            for each in events:
                self.hear(each)

    def decide(self, device: str) -> Decision:
        assert not self.wanted(device[0]), "asked for a decision before everything was settled"
        self.steps[device] += 1
        late = NeedMeasurements(
            tuple(each for each in (f"late {device[0]}", f"late {device}") if self.unknown(device[0], each))
        )
        walk = [late, NeedEvaluation(SELECTION), NeedRun(SELECTION), NeedRun(SELECTION)]
        step = self.steps[device]
        return walk[step - 1] if step <= len(walk) else Finished("holds", SELECTION)

    def hear(self, event: Event) -> None:
        """What a decision says counts from now on."""
        match event:
            case Decided(device, NeedMeasurements(requests)):
                self.asked[device[0]].update(requests)
            case Decided(device, Finished()):
                self.outcomes.add(device)

    def built(self, command: Build, failed: tuple[str, ...]) -> None:
        self.given_up.update((command.batch.device_class, each) for each in failed)
        self.tell(Built(command.batch, failed))

    def timed(self, command: Measure, reached: int | None, *, blame: bool) -> None:
        """Up to the request where the session ended, if it did; somebody may be to blame."""
        batch = command.batch
        done = batch.requests[:reached]
        self.measured.update((batch.device_class, each) for each in done)
        culprit = batch.requests[reached] if blame and reached is not None else None
        if culprit:
            self.crashes[batch.device_class, culprit] += 1
        self.tell(Measured(command.device, batch, done, culprit))

    def ran(self, device: str, failure: str | None) -> None:
        self.failed_runs[device] = self.failed_runs[device] + 1 if failure else 0
        if failure and self.failed_runs[device] < 3:
            self.steps[device] -= 1  # It asks for the same run again.
        if self.failed_runs[device] == 3:
            self.outcomes.add(device)
        self.tell(Ran(device, failure))

    def wanted(self, device_class: str) -> set[str]:
        return {each for each in self.asked[device_class] if self.unknown(device_class, each)}

    def unknown(self, device_class: str, request: str) -> bool:
        return not self.measured[device_class, request] and (device_class, request) not in self.given_up

    # --- laws

    @invariant()
    def devices_that_share_cores_never_time_at_once(self) -> None:
        timed = [each.device for each in self.pending if isinstance(each, Measure | RunConfiguration)]
        cores = [core for device in timed for core in CORES[device]]
        assert len(cores) == len(set(cores))
        assert set(timed) <= self.online

    @invariant()
    def nothing_is_in_two_places_or_measured_twice(self) -> None:
        places = [
            (each.batch.device_class, request)
            for each in self.pending
            if isinstance(each, Build | Measure)
            for request in each.batch.requests
        ]
        assert len(places) == len(set(places))
        assert all(request in self.wanted(name) for name, request in places)
        assert all(count == 1 for count in self.measured.values())

    @invariant()
    def what_it_says_of_itself_is_true(self) -> None:
        classes = {name: {each for each in self.joined if each[0] == name} for name in WANTED}
        done = {name for name, members in classes.items() if members and members <= self.outcomes}
        attended = {each[0] for each in self.online - self.outcomes}
        assert self.coordinator.finished == (done == set(WANTED))
        assert set(self.coordinator.unattended()) == set(WANTED) - done - attended
        assert set(self.coordinator.outcomes) == self.outcomes
        for each in self.coordinator.progress():
            assert each.wanted - each.measured == len(self.wanted(each.device[0]))

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        """Builds go on while there is something to build; a free device of a class with a library times."""
        if not self.pending and not self.coordinator.finished:
            assert self.coordinator.unattended(), "nothing is under way, and somebody waits"

    def teardown(self) -> None:
        for device in sorted(CORES.keys() - self.online):
            self.join(device)
        while self.pending:
            command = self.pending.pop(0)
            match command:
                case Build():
                    self.built(command, ())
                case Measure():
                    self.timed(command, None, blame=False)
                case RunConfiguration(device):
                    self.ran(device, None)
                case EvaluateJointly(device):
                    self.tell(JointlyEvaluated(device))
                case Evaluate(layer):
                    self.tell(Evaluated(layer))
            self.devices_that_share_cores_never_time_at_once()
            self.nothing_is_in_two_places_or_measured_twice()
        assert self.coordinator.finished
        assert not self.wanted("a")
        assert not self.wanted("b")


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=60, stateful_step_count=60, deadline=None, derandomize=True)
