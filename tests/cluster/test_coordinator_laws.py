"""The coordinator's laws under anything that can happen to a fleet, at any moment, in any order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.coordinator import CRASHES_BEFORE_DISCARD, Coordinator
from cluster.decision import (
    Decision,
    Finished,
    NeedEvaluation,
    NeedMeasurements,
    NeedProfile,
    NeedRun,
    TakeOver,
)
from cluster.events import (
    BudgetSpent,
    Build,
    Built,
    ClassAbandoned,
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
    Profile,
    Profiled,
    Ran,
    Rank,
    Ranked,
    RunConfiguration,
)
from cluster.selection import Selection

WANTED = {"a": [f"k{i}" for i in range(1, 9)], "b": [f"k{i}" for i in range(5)]}
COMMON = {"a": ["k0", "k5"], "b": ["k1"]}
"""Every unit measures these. An earlier run has measured k0 on a.2, so that it is not wanted of the class."""
VIOLATES = {("a.3", "a.1"), ("a.3", "a.2"), ("a.2", "a.1"), ("a.1", "a.3")}
"""On the first unit the bounds do not hold with what was found on the second one. Class a shares one."""
CORES = {"a.1": {"h/0"}, "a.2": {"h/0", "h/1"}, "a.3": {"i/0"}, "b.1": {"h/1"}, "b.2": {"j/0"}}


def found_on(device: str) -> Selection:
    return Selection((device,), (((8, 1),),))


class Fleet(RuleBasedStateMachine):
    """Devices join, leave and come back; sessions, builds and runs fail or succeed."""

    def __init__(self) -> None:
        super().__init__()
        self.coordinator = Coordinator(
            WANTED,
            ["conv1", "conv2"],
            common=COMMON,
            measured={"a.2": ["k0"]},
            shared=["a"],
            batch_size=4,
            build_slots=2,
        )
        self.own = {(device, each) for device in CORES for each in COMMON[device[0]]} - {("a.2", "k0")}
        self.certified: set[tuple[str, str]] = set()
        self.left_alone: set[str] = set()
        self.pending: list[Command] = []
        self.online: set[str] = set()
        self.joined: set[str] = set()
        self.measured: Counter[tuple[str, str]] = Counter()
        self.given_up: set[tuple[str, str]] = set()
        self.crashes: Counter[tuple[str, str]] = Counter()
        self.steps: Counter[str] = Counter()
        self.asked = {name: set(keys) for name, keys in WANTED.items()}
        self.failed_runs: Counter[str] = Counter()
        self.forgone: set[int] = set()
        """Libraries that nobody wanted any more when the budget was spent."""

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
            if not (isinstance(each, Measure | Profile | RunConfiguration) and each.device == device)
        ]
        self.tell(DeviceLost(device, "unplugged"))

    @precondition(lambda self: self.coordinator.unattended())
    @rule(patience=st.integers(0, 3))
    def give_up(self, patience: int) -> None:
        """Mostly somebody comes in time."""
        if patience == 0:
            name = self.coordinator.unattended()[0]
            self.left_alone.add(name)
            self.tell(ClassAbandoned(name, "nobody came"))

    @rule(whether=st.integers(0, 9))
    def spend_the_budget(self, whether: int) -> None:
        """Now and then."""
        if whether:
            return
        begun = {
            (each.batch.device_class, request)
            for each in self.pending
            if isinstance(each, Measure)
            for request in each.batch.requests
        }
        for name, keys in self.asked.items():
            keys -= {
                each
                for each in keys
                if self.unknown(name, each) and (name, each) not in begun and each not in COMMON[name]
            }
        self.forgone |= {
            each.batch.number for each in self.pending if isinstance(each, Build) and not each.batch.common
        }
        self.tell(BudgetSpent())

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), luck=st.sampled_from(["good", "good", "bad", "worse"]))
    def get_done(self, data: st.DataObject, luck: str) -> None:
        command = data.draw(st.sampled_from(self.pending))
        reached = None
        if isinstance(command, Measure) and luck != "good":
            reached = data.draw(st.integers(0, len(command.batch.requests) - 1))
        self.pending.remove(command)
        match command:
            case Build(batch):
                self.built(command, batch.requests[:1] if luck == "bad" else ())
            case RunConfiguration(device, selection):
                self.ran(device, selection, None if luck == "good" else "no memory")
            case Profile(device):
                self.tell(Profiled(device, None if luck == "good" else "no memory"))
            case _:
                self.succeed(command, reached, blame=luck == "worse")

    # --- what follows from it

    def succeed(self, command: Command, reached: int | None = None, *, blame: bool = False) -> None:
        match command:
            case Build():
                self.built(command, ())
            case Measure():
                self.timed(command, reached, blame=blame)
            case RunConfiguration(device, selection):
                self.ran(device, selection, None)
            case Profile(device):
                self.tell(Profiled(device))
            case EvaluateJointly(device):
                self.tell(JointlyEvaluated(device))
            case Evaluate(layer):
                self.tell(Evaluated(layer))

    def tell(self, event: Event) -> None:
        """Like the loop: thoughts are answered at once, all of one event's before the next is told."""
        events = deque([event])
        while events:
            for command in self.coordinator.handle(events.popleft()):
                match command:
                    case Decide(device, final):
                        events.append(Decided(device, self.decide(device, final)))
                    case Rank(device_class, devices):
                        assert device_class == "a"
                        events.append(Ranked(device_class, tuple(reversed(devices))))
                    case Discard(device_class, request):
                        assert self.crashes[device_class, request] == CRASHES_BEFORE_DISCARD
                        self.given_up.add((device_class, request))
                    case _:
                        self.pending.append(command)
            for each in events:
                self.hear(each)

    def decide(self, device: str, final: Finished | None) -> Decision:
        assert not self.wanted(device[0]), "asked for a decision before everything was settled"
        assert not self.missing(device), "asked for a decision before its factor is known"
        if final is not None:
            return self.follow(device, final)
        self.steps[device] += 1
        late = NeedMeasurements(
            tuple(each for each in (f"late {device[0]}", f"late {device}") if self.unknown(device[0], each))
        )
        found = found_on(device)
        walk = [late, NeedProfile((found,)), NeedEvaluation(found), NeedRun(found), NeedRun(found)]
        step = self.steps[device]
        return walk[step - 1] if step <= len(walk) else Finished("holds", found)

    def follow(self, device: str, final: Finished) -> Decision:
        finder = final.selection.variants[0]
        if (device, finder) not in self.certified and device != finder:
            return NeedRun(final.selection)
        return TakeOver() if (device, finder) in VIOLATES else Finished("holds", final.selection)

    def hear(self, event: Event) -> None:
        """What a decision says counts from now on."""
        match event:
            case Decided(device, NeedMeasurements(requests)):
                self.asked[device[0]].update(requests)

    def built(self, command: Build, failed: tuple[str, ...]) -> None:
        self.given_up.update((command.batch.device_class, each) for each in failed)
        self.tell(Built(command.batch, failed))

    def timed(self, command: Measure, reached: int | None, *, blame: bool) -> None:
        """Up to the request where the session ended, if it did; somebody may be to blame."""
        batch = command.batch
        done = batch.requests[:reached]
        if batch.common:
            assert {(command.device, each) for each in batch.requests} <= self.own
            self.own -= {(command.device, each) for each in done}
        self.measured.update((batch.device_class, each) for each in done)
        culprit = batch.requests[reached] if blame and reached is not None else None
        if culprit:
            self.crashes[batch.device_class, culprit] += 1
        self.tell(Measured(command.device, batch, done, culprit))

    def ran(self, device: str, selection: Selection, failure: str | None) -> None:
        finder = selection.variants[0]
        if failure and finder == device:
            self.steps[device] -= 1  # It asks for the same run again.
        elif not failure:
            self.certified.add((device, finder))
        self.tell(Ran(device, failure))

    def wanted(self, device_class: str) -> set[str]:
        return {each for each in self.asked[device_class] if self.unknown(device_class, each)}

    def missing(self, device: str) -> set[str]:
        """Common requests that the unit has to measure itself."""
        own = {each for unit, each in self.own if unit == device}
        return {each for each in own if (device[0], each) not in self.given_up}

    def unknown(self, device_class: str, request: str) -> bool:
        return not self.measured[device_class, request] and (device_class, request) not in self.given_up

    # --- laws

    @invariant()
    def devices_that_share_cores_never_time_at_once(self) -> None:
        timed = [
            each.device for each in self.pending if isinstance(each, Measure | Profile | RunConfiguration)
        ]
        cores = [core for device in timed for core in CORES[device]]
        assert len(cores) == len(set(cores))
        assert set(timed) <= self.online

    @invariant()
    def nothing_is_in_two_places_or_measured_twice(self) -> None:
        places = [
            (each.batch.device_class, request)
            for each in self.pending
            if isinstance(each, Build | Measure) and not each.batch.common
            if isinstance(each, Measure) or each.batch.number not in self.forgone
            for request in each.batch.requests
        ]
        assert len(places) == len(set(places))
        assert all(request in self.wanted(name) for name, request in places)
        assert not any(request in COMMON[name] for name, request in places)
        once = ((name, each) for name, each in self.measured if each not in COMMON[name])
        assert all(self.measured[each] == 1 for each in once)

    @invariant()
    def what_it_says_of_itself_is_true(self) -> None:
        classes = {name: {each for each in self.joined if each[0] == name} for name in WANTED}
        outcomes = set(self.coordinator.outcomes)
        done = {name for name, members in classes.items() if members and members <= outcomes}
        done |= self.coordinator.abandoned.keys()
        attended = {each[0] for each in self.online - outcomes}
        assert self.coordinator.finished == (done == set(WANTED))
        assert set(self.coordinator.unattended()) == set(WANTED) - done - attended
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
            self.succeed(self.pending.pop(0))
            self.devices_that_share_cores_never_time_at_once()
            self.nothing_is_in_two_places_or_measured_twice()
        assert self.coordinator.finished
        assert not any(self.wanted(name) for name in WANTED.keys() - self.left_alone)
        outcomes = self.coordinator.outcomes
        assert not any(self.missing(name) for name, each in outcomes.items() if isinstance(each, Finished))
        self.units_share_what_holds(outcomes)

    def units_share_what_holds(self, outcomes: Mapping[str, Finished | str]) -> None:
        """Of class a, whose units have one configuration that each of them has run."""
        found = {
            name: each for name, each in outcomes.items() if isinstance(each, Finished) and name[0] == "a"
        }
        selections = {each.selection for each in found.values() if each.verdict == "holds"}
        assert len(selections) <= 1
        for device, each in found.items():
            finder = each.selection.variants[0]
            assert (device, finder) in self.certified
            assert (each.verdict == "unverified") == ((device, finder) in VIOLATES)


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=60, stateful_step_count=60, deadline=None, derandomize=True)
