"""The loop of a run: carries the coordinator's commands out on Ray and tells it what became of them.

A driver that is killed at any moment loses at most the batches under way: whatever a command yields is in the
store before the coordinator hears of it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayTaskError

from cluster.coordinator import CRASHES_BEFORE_DISCARD, Coordinator, Progress
from cluster.crew import Crew
from cluster.decision import Decision, Policy, decide, is_uniform
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
from cluster.fleet import Fleet, timing_cores
from cluster.goal import Goal
from cluster.ledger import Ledger, class_of
from cluster.recorder import Recorder
from cluster.rounds import Rounds
from cluster.selection import Selection
from cluster.work import Work
from tracker.device import Description, DeviceKey
from tracker.failure import Failure
from workers.build import Library
from workers.device import BatchResult, RunResult

POLL_FLEET_S = 2.0
WAIT_S = 0.5
STRIKES = 3
"""Sessions in a row that gave nothing before a device is let go."""


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask a device that has just registered what it is."""

    device: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What the run promises, and how patiently."""

    goals: Mapping[str, Goal]
    """By class."""
    policy: Policy
    patience_s: float = 60.0
    """How long a class may be without any device."""


class Loop:
    """One run, from the first device to the last outcome."""

    def __init__(
        self,
        coordinator: Coordinator,
        ledger: Ledger,
        recorder: Recorder,
        rounds: Rounds,
        crew: Crew,
        fleet: Fleet,
        work: Work,
        terms: Terms,
    ) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._recorder = recorder
        self._rounds = rounds
        self._crew = crew
        self._fleet = fleet
        self._work = work
        self._terms = terms
        self._strikes: Counter[str] = Counter()
        self._last_poll = -POLL_FLEET_S
        self._unattended_since: dict[str, float] = {}

    def run(self, watch: Callable[[tuple[Progress, ...]], None]) -> None:
        """Until every device of every class has an outcome, or its class is given up."""
        while not self._coordinator.finished:
            self._poll_fleet()
            for command, result in self._crew.collect(WAIT_S):
                if (event := self._event(command, result)) is not None:
                    self._tell(event)
            self._let_go_of_the_unusable()
            watch(self._coordinator.progress())

    def _tell(self, event: Event) -> None:
        events = deque([event])
        while events:
            for command in self._coordinator.handle(events.popleft()):
                if (answer := self._carry_out(command)) is not None:
                    events.append(answer)

    # --- the fleet

    def _poll_fleet(self) -> None:
        if time.monotonic() - self._last_poll < POLL_FLEET_S:
            return
        self._last_poll = time.monotonic()
        joined, lost = self._fleet.changes()
        for key in sorted(joined):
            self._crew.start(Describe(str(key)), self._crew.device(key).describe.remote())
        for key in sorted(lost):
            self._lose(key, "it is no longer registered with the tracker")
        self._give_up_unattended()

    def _let_go_of_the_unusable(self) -> None:
        for device, strikes in list(self._strikes.items()):
            if strikes >= STRIKES:
                del self._strikes[device]
                self._fleet.ban(DeviceKey.parse(device))
                self._lose(DeviceKey.parse(device), f"{STRIKES} sessions in a row gave nothing")

    def _give_up_unattended(self) -> None:
        now = time.monotonic()
        since = {name: self._unattended_since.get(name, now) for name in self._coordinator.unattended()}
        self._unattended_since = since
        for name, start in since.items():
            if now - start > self._terms.patience_s:
                self._tell(
                    ClassAbandoned(
                        name,
                        f"no usable device of class {name} for {self._terms.patience_s:.0f} s; "
                        "register one and run the same command again",
                    )
                )

    def _lose(self, key: DeviceKey, reason: str) -> None:
        device = str(key)
        self._crew.dismiss(key)
        if device in {each.device for each in self._coordinator.progress()}:
            self._crew.forget(lambda command: _runs_on(command, device))
            self._tell(DeviceLost(device, reason))

    # --- events: results go to the store before anybody hears of them

    def _event(self, command: Any, result: Any) -> Event | None:
        match command:
            case Describe(device):
                return self._described(device, result)
            case Build(batch):
                return self._built(batch, result)
            case Measure(device, batch):
                return self._measured(device, batch, result)
            case Evaluate(layer):
                self._recorder.layer_effects(layer, _expect(result))
                return Evaluated(layer)
            case EvaluateJointly(device, variants):
                self._recorder.joint_effect(variants, _expect(result))
                if not is_uniform(self._ledger.tables[class_of(device)], variants):
                    self._rounds.add_evaluation(device)
                return JointlyEvaluated(device)
            case RunConfiguration(device, selection):
                return self._ran(device, selection, result)
        raise AssertionError(f"nothing is started for {command}")

    def _described(self, device: str, result: Any) -> Event | None:
        key = DeviceKey.parse(device)
        if not isinstance(result, Description):
            self._strikes[device] += 1
            self._fleet.forget(key)
            return None
        if missing := self._work.missing_features(key.device_class, result):
            self._fleet.ban(key)
            print(f"blinknet: {device} is left out: its class is compiled for {missing}, which it lacks")
            return None
        return DeviceJoined(device, key.device_class, timing_cores(result))

    def _built(self, batch: Batch, result: Any) -> Event:
        if isinstance(result, RayTaskError):
            # No kernel is to blame: what is recorded as its failure would stay.
            raise result.cause
        if isinstance(result, Library):
            failures = dict(result.failures)
        else:
            failures = dict.fromkeys(batch.requests, f"the compiling process died: {result}")
        self._recorder.failures(batch.device_class, failures)
        return Built(batch, tuple(failures))

    def _measured(self, device: str, batch: Batch, result: Any) -> Event:
        if not isinstance(result, BatchResult):
            result = BatchResult({}, failure=Failure("crash", str(result), device, "measure"))
        self._recorder.timings(device, result.timings)
        if result.failure is None:
            self._work.drop_library(batch)
        stuck = result.failure is not None and not result.timings and result.culprit is None
        self._strikes[device] = self._strikes[device] + 1 if stuck else 0
        return Measured(device, batch, tuple(result.timings), result.culprit)

    def _ran(self, device: str, selection: Selection, result: Any) -> Event:
        if not isinstance(result, RunResult):
            return Ran(device, str(result))
        executable = self._work.deployed(class_of(device), selection)
        run = self._recorder.run(device, selection, result, self._work.effect(result.answers), executable)
        if run.disturbed(self._terms.goals[class_of(device)].bounds.percentile):
            return Ran(device, "something else kept the device busy; leave it alone and run again")
        if not is_uniform(self._ledger.tables[class_of(device)], selection.variants):
            self._rounds.add(device)
        return Ran(device)

    # --- commands

    def _carry_out(self, command: Command) -> Event | None:
        """Start a command, or answer it at once where it is a thought and not a deed."""
        match command:
            case Decide(device):
                return Decided(device, self._decide(device))
            case Discard(device_class, request, device):
                reason = f"it ended {CRASHES_BEFORE_DISCARD} sessions, the last one on {device}"
                self._recorder.failures(device_class, {request: reason})
            case _:
                self._crew.start(command, self._task(command))
        return None

    def _task(self, command: Command) -> Any:
        match command:
            case Build(batch):
                return self._work.build(batch)
            case Measure(device, batch):
                return self._work.measure(self._actor(device), batch)
            case Evaluate(layer):
                return self._work.evaluate(layer, self._missing(layer))
            case EvaluateJointly(_, variants):
                return self._work.evaluate_jointly(variants)
            case RunConfiguration(device, selection):
                reference = self._ledger.exact_selection(device) or selection
                return self._work.run(self._actor(device), class_of(device), selection, reference)
        raise AssertionError(f"{command} is no task")

    def _missing(self, layer: str) -> tuple[str, ...]:
        return self._ledger.missing_approximations(layer, self._work.approximations[layer])

    def _decide(self, device: str) -> Decision:
        return decide(
            self._ledger.tables[class_of(device)],
            self._ledger.knowledge(device),
            self._terms.goals[class_of(device)],
            self._terms.policy,
            self._rounds.spent(device),
        )

    def _actor(self, device: str) -> Any:
        return self._crew.device(DeviceKey.parse(device))


def _runs_on(command: Any, device: str) -> bool:
    """Whether the command ends with the device; a joint evaluation goes on without it."""
    return isinstance(command, Describe | Measure | RunConfiguration) and command.device == device


def _expect(result: Any) -> Any:
    """The result of work that only a bug or a dead machine can fail; Ray has tried it three times."""
    if isinstance(result, Exception):
        raise result
    return result
