"""The coordinator's laws, on a simulated world that answers its commands in any order."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.coordinator import Coordinator, InvalidTransitionError
from cluster.decision import Decision, Finished, NeedEvaluation, NeedMeasurements, NeedRun
from cluster.events import (
    Batch,
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
    Ran,
    RunConfiguration,
)
from cluster.selection import Selection

SELECTION = Selection(("exact f32>f32",), (((8, 1),),))


def finished() -> Finished:
    return Finished("holds", SELECTION)


@dataclass
class World:
    """Answers commands; every device walks measurements -> evaluation -> run -> finished."""

    rng: random.Random
    crashing: frozenset[str] = frozenset()
    measured: Counter[str] = field(default_factory=Counter)
    discarded: list[str] = field(default_factory=list)
    pending: list[Command] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    def busy_cores(self, cores: dict[str, str]) -> list[str]:
        return [cores[c.device] for c in self.pending if isinstance(c, Measure | RunConfiguration)]

    def answer(self, command: Command) -> Event | None:
        match command:
            case Build(batch):
                return Built(batch)
            case Measure(device, batch):
                return self.measure(device, batch)
            case Evaluate(layer):
                return Evaluated(layer)
            case EvaluateJointly(device):
                return JointlyEvaluated(device)
            case RunConfiguration(device):
                return Ran(device)
            case Decide(device):
                return Decided(device, self.decide(device))
            case Discard(_, request):
                self.discarded.append(request)
        return None

    def measure(self, device: str, batch) -> Measured:
        done: list[str] = []
        for request in batch.requests:
            if request in self.crashing:
                return Measured(device, batch, tuple(done), culprit=request)
            self.measured[request] += 1
            done.append(request)
        return Measured(device, batch, tuple(done))

    def decide(self, device: str) -> Decision:
        step = self.steps[device] = self.steps.get(device, 0) + 1
        walk: list[Decision] = [NeedMeasurements(self.extra), NeedEvaluation(SELECTION), NeedRun(SELECTION)]
        return walk[step - 1] if step <= len(walk) else finished()

    def play(self, coordinator: Coordinator, events: list[Event], cores: dict[str, str]) -> None:
        for event in events:
            self.pending += coordinator.handle(event)
        while self.pending:
            timed = self.busy_cores(cores)
            assert len(timed) == len(set(timed)), "two devices timed at once on the same cores"
            command = self.pending.pop(self.rng.randrange(len(self.pending)))
            event = self.answer(command)
            if event is not None:
                self.pending += coordinator.handle(event)


def joined(device: str, core: str = "") -> DeviceJoined:
    return DeviceJoined(device, device.partition(".")[0], frozenset({core or device}))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 3), st.integers(1, 7), st.booleans())
def test_everything_is_measured_once_whatever_the_order(seed, kernels, units, batch, shared):
    wanted = {name: [f"{name}/k{i}" for i in range(kernels)] for name in ("a", "b")}
    devices = [f"{name}.{unit}" for name in wanted for unit in range(units)]
    world = World(random.Random(seed), extra=())
    coordinator = Coordinator(wanted, ["conv1", "conv2"], batch_size=batch, build_slots=2)
    cores = {each: "shared" if shared else each for each in devices}
    world.play(coordinator, [joined(each, cores[each]) for each in devices], cores)
    assert coordinator.finished
    assert set(coordinator.outcomes) == set(devices)
    assert world.measured == Counter(key for keys in wanted.values() for key in keys)


def test_a_request_that_kills_two_sessions_is_discarded_and_the_others_are_measured():
    world = World(random.Random(1), crashing=frozenset({"k2"}))
    coordinator = Coordinator({"a": [f"k{i}" for i in range(6)]}, [])
    world.play(coordinator, [joined("a.1")], {"a.1": "a.1"})
    assert world.discarded == ["k2"]
    assert world.measured == Counter({f"k{i}": 1 for i in (0, 1, 3, 4, 5)})
    assert coordinator.finished


def test_a_request_that_ended_a_session_is_tried_on_another_unit():
    coordinator = Coordinator({"a": ["k0", "k1", "k2"]}, [], batch_size=3)
    (build,) = coordinator.handle(joined("a.1"))
    assert isinstance(build, Build)
    (first,) = coordinator.handle(Built(build.batch))
    assert coordinator.handle(joined("a.2")) == []
    assert isinstance(first, Measure)
    commands = coordinator.handle(Measured("a.1", first.batch, ("k0",), culprit="k1"))
    batches = {each.device: each.batch.requests for each in commands if isinstance(each, Measure)}
    assert batches == {"a.1": ("k2",), "a.2": ("k1",)}
    (second,) = [each for each in commands if isinstance(each, Measure) and each.device == "a.2"]
    commands = coordinator.handle(Measured("a.2", second.batch, (), culprit="k1"))
    assert Discard("a", "k1", "a.2") in commands


def test_without_another_unit_it_is_tried_on_the_same():
    coordinator = Coordinator({"a": ["k0", "k1"]}, [], batch_size=2)
    (build,) = coordinator.handle(joined("a.1"))
    assert isinstance(build, Build)
    coordinator.handle(Built(build.batch))
    coordinator.handle(joined("a.2"))
    batch = build.batch
    again = coordinator.handle(Measured("a.1", batch, (), culprit="k0"))
    assert {each.device: each.batch.requests for each in again if isinstance(each, Measure)} == {
        "a.1": ("k1",),
        "a.2": ("k0",),
    }
    coordinator.handle(DeviceLost("a.2", "unplugged"))
    rest = Batch(batch.number, "a", ("k1",))
    (last,) = coordinator.handle(Measured("a.1", rest, ("k1",)))
    assert isinstance(last, Measure)
    assert (last.device, last.batch.requests) == ("a.1", ("k0",))


def test_work_of_a_lost_device_goes_to_another_of_its_class():
    coordinator = Coordinator({"a": ["k0", "k1"]}, [], batch_size=2)
    (build,) = coordinator.handle(joined("a.1"))
    assert isinstance(build, Build)
    (measure,) = coordinator.handle(Built(build.batch))
    assert measure == Measure("a.1", build.batch)
    assert coordinator.handle(DeviceLost("a.1", "unplugged")) == []
    assert coordinator.unattended() == ("a",)
    assert coordinator.handle(joined("a.2")) == [Measure("a.2", build.batch)]


def test_kernels_that_do_not_compile_are_settled_without_a_device():
    coordinator = Coordinator({"a": ["k0", "k1"]}, [], batch_size=2)
    (build,) = coordinator.handle(joined("a.1"))
    (measure,) = coordinator.handle(Built(build.batch, failed=("k0",)))
    assert measure.batch.requests == ("k1",)


def test_what_a_decision_asks_for_is_measured_before_the_next_decision():
    world = World(random.Random(3), extra=("late",))
    coordinator = Coordinator({"a": []}, [])
    world.play(coordinator, [joined("a.1")], {"a.1": "a.1"})
    assert world.measured == Counter({"late": 1})
    assert coordinator.outcomes["a.1"].verdict == "holds"


def test_a_configuration_that_cannot_be_run_ends_with_the_reason():
    coordinator = Coordinator({"a": []}, [])
    commands = coordinator.handle(joined("a.1"))
    while not coordinator.finished:
        (command,) = commands
        event = Decided("a.1", NeedRun(SELECTION)) if isinstance(command, Decide) else Ran("a.1", "no memory")
        commands = coordinator.handle(event)
    assert "no memory" in coordinator.outcomes["a.1"]


def test_a_class_without_devices_can_be_abandoned():
    coordinator = Coordinator({"a": [], "b": ["k"]}, [])
    world = World(random.Random(0))
    world.play(coordinator, [joined("a.1")], {"a.1": "a.1"})
    assert not coordinator.finished
    assert coordinator.unattended() == ("b",)
    coordinator.handle(ClassAbandoned("b", "no device for 60 s"))
    assert coordinator.finished
    assert coordinator.abandoned == {"b": "no device for 60 s"}


def test_units_of_a_class_come_to_an_end_together():
    """Of 40 requests the first library is a share, the last ones are single."""
    coordinator = Coordinator({"a": [f"k{i}" for i in range(40)]}, [], build_slots=1)
    pending = [command for unit in range(4) for command in coordinator.handle(joined(f"a.{unit}"))]
    sizes: list[int] = []
    world = World(random.Random(0))
    while pending:
        command = pending.pop(0)
        if isinstance(command, Build):
            sizes.append(len(command.batch.requests))
        event = world.answer(command)
        pending += coordinator.handle(event) if event else []
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert (sum(sizes), sizes[-1]) == (40, 1)
    assert coordinator.finished


def test_one_evaluation_serves_all_who_ask_for_the_same():
    coordinator = Coordinator({"a": []}, [], build_slots=4)
    for unit in ("a.1", "a.2"):
        (decide,) = coordinator.handle(joined(unit))
        assert decide == Decide(unit)
    (evaluate,) = coordinator.handle(Decided("a.1", NeedEvaluation(SELECTION)))
    assert evaluate == EvaluateJointly("a.1", SELECTION.variants)
    assert coordinator.handle(Decided("a.2", NeedEvaluation(SELECTION))) == []
    assert coordinator.handle(JointlyEvaluated("a.1")) == [Decide("a.1"), Decide("a.2")]


def test_an_evaluation_for_a_class_that_was_given_up_meanwhile_changes_nothing():
    coordinator = Coordinator({"a": []}, [])
    coordinator.handle(joined("a.1"))
    coordinator.handle(Decided("a.1", NeedEvaluation(SELECTION)))
    coordinator.handle(DeviceLost("a.1", "unplugged"))
    coordinator.handle(ClassAbandoned("a", "no device for 60 s"))
    assert coordinator.handle(JointlyEvaluated("a.1")) == []
    assert coordinator.finished


def test_a_run_goes_before_measurements_on_the_same_core():
    coordinator = Coordinator(
        {"a": ["k0"], "b": [f"k{i}" for i in range(4)]}, [], batch_size=1, build_slots=9
    )
    builds = coordinator.handle(joined("a.1", "core"))
    builds += coordinator.handle(joined("b.1", "core"))
    commands = [each for build in builds for each in coordinator.handle(Built(build.batch))]
    while not isinstance(commands[0], Decide):
        (timed,) = [each for each in commands if isinstance(each, Measure)]
        commands = coordinator.handle(Measured(timed.device, timed.batch, timed.batch.requests))
    assert coordinator.handle(Decided("a.1", NeedRun(SELECTION))) == []
    (busy,) = [each for each in commands if isinstance(each, Measure)]
    assert busy.device == "b.1"
    after = coordinator.handle(Measured("b.1", busy.batch, busy.batch.requests))
    assert RunConfiguration("a.1", SELECTION) in after
    assert not any(isinstance(each, Measure) for each in after)


def test_an_impossible_event_tells_the_story():
    coordinator = Coordinator({"a": []}, [])
    coordinator.handle(joined("a.1"))
    with pytest.raises(InvalidTransitionError, match=r"a\.1 .*joined"):
        coordinator.handle(JointlyEvaluated("a.1"))
    with pytest.raises(InvalidTransitionError, match="never joined"):
        coordinator.handle(Ran("a.9"))


def test_progress_counts_what_is_settled():
    world = World(random.Random(5))
    coordinator = Coordinator({"a": ["k0", "k1", "k2"]}, [])
    before = coordinator.handle(joined("a.1"))
    assert [(p.measured, p.wanted) for p in coordinator.progress()] == [(0, 3)]
    world.pending += before
    world.play(coordinator, [], {"a.1": "a.1"})
    assert [(p.stage, p.measured, p.wanted) for p in coordinator.progress()] == [("done", 3, 3)]
