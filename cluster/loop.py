"""The loop of a run: carries the coordinator's commands out on Ray and tells it what became of them.

A driver that is killed at any moment loses at most the batches under way: whatever a command yields is in the
store before the coordinator hears of it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ray.exceptions import RayError, RayTaskError

from cluster.best import best_text
from cluster.budget import UNLIMITED, Budget
from cluster.coordinator import CRASHES_BEFORE_DISCARD, Coordinator, Progress
from cluster.crew import Crew
from cluster.decision import Decision, Finished, Policy, decide, follow, is_uniform
from cluster.events import (
    Batch,
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
from cluster.fleet import Fleet, timing_cores
from cluster.goal import Goal
from cluster.ledger import Ledger, class_of
from cluster.recorder import Recorder
from cluster.rounds import Rounds
from cluster.selection import Selection
from cluster.watch import Watch
from cluster.work import Work
from tracker.device import Description, DeviceKey
from tracker.failure import Failure
from workers.build import Library
from workers.device import BatchResult, ProfileResult, RunResult

WAIT_S = 0.5
DEATHS = 5
"""Of processes on one piece of host work, each tried three times by Ray, before the run is given up."""


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask a device that has just registered what it is."""

    device: str


@dataclass(frozen=True, slots=True)
class TakeFingerprint:
    """Measure what a device can do at most, ahead of the first work that it times."""

    device: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What the run promises, and how patiently."""

    goals: Mapping[str, Goal]
    """By class."""
    policy: Policy
    patience_s: float = 60.0
    """How long a class may be without any device."""
    budget: Budget = UNLIMITED
    tracker_patience_s: float = 900.0
    """How long the tracker may be away."""


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
        self._work = work
        self._terms = terms
        self._watch = Watch(fleet, recorder.device_event, terms.tracker_patience_s)
        self._deaths: Counter[Any] = Counter()
        self._unattended_since: dict[str, float] = {}
        self._unmeasured: dict[str, Description] = {}
        """Devices without a fingerprint."""
        self._start_s = time.monotonic()
        self._known = ledger.measurements
        """Before anything was measured in this execution."""
        self._budget_spent = False
        self._best: dict[str, str] = {}
        """Device to the best that it has run, in words."""
        self._unprofiled: set[str] = set()
        """Devices whose profile failed."""

    def run(self, show: Callable[[Callable[[], Sequence[Progress]]], None]) -> None:
        """Until every device of every class has an outcome, or its class is given up."""
        try:
            while not self._coordinator.finished:
                self._mind_the_fleet()
                for command, result in self._crew.collect(WAIT_S):
                    if (event := self._event(command, result)) is not None:
                        self._tell(event)
                self._mind_the_budget()
                show(self._progress)
        finally:
            self._watch.close()

    def _tell(self, event: Event) -> None:
        events = deque([event])
        while events:
            for command in self._coordinator.handle(events.popleft()):
                if (answer := self._carry_out(command)) is not None:
                    events.append(answer)

    def _progress(self) -> Sequence[Progress]:
        return [replace(each, best=self._best.get(each.device, "")) for each in self._coordinator.progress()]

    def _mind_the_budget(self) -> None:
        elapsed_s, measured = time.monotonic() - self._start_s, self._ledger.measurements - self._known
        if not self._budget_spent and self._terms.budget.spent(elapsed_s, measured):
            self._budget_spent = True
            self._tell(BudgetSpent())

    # --- the fleet

    def _mind_the_fleet(self) -> None:
        for key, reason in self._watch.quarantined().items():
            self._lose(key, reason)
        changes = self._watch.changes()
        if changes is None:
            return
        for key in sorted(changes.joined):
            self._crew.start(Describe(str(key)), self._crew.device(key).describe.remote())
        for key, reason in sorted(changes.lost.items()):
            self._lose(key, reason)
        if not self._watch.tracker_away:  # Meanwhile devices go on, and nobody could join.
            self._give_up_unattended()

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
        self._crew.forget(lambda command: _runs_on(command, device))
        if self._coordinator.knows(device):
            self._tell(DeviceLost(device, reason))

    # --- events: results go to the store before anybody hears of them

    def _event(self, command: Any, result: Any) -> Event | None:
        if isinstance(result, RayTaskError):
            raise result.cause  # A bug, or a machine that cannot build: no kernel or device is to blame.
        if isinstance(result, RayError) and not _on_a_device(command):
            self._deaths[command] += 1
            if self._deaths[command] < DEATHS:
                self._crew.start(command, self._task(command))
                return None
        return self._outcome(command, result)

    def _outcome(self, command: Any, result: Any) -> Event | None:
        match command:
            case Describe() | TakeFingerprint():
                return self._introduced(command, result)
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
            case RunConfiguration() | Profile():
                return self._ran_whole(command, result)
        raise AssertionError(f"nothing is started for {command}")

    def _ran_whole(self, command: RunConfiguration | Profile, result: Any) -> Event:
        if isinstance(command, Profile):
            return self._profiled(command.device, command.selections, result)
        return self._ran(command.device, command.selection, result)

    def _introduced(self, command: Describe | TakeFingerprint, result: Any) -> Event | None:
        if isinstance(command, Describe):
            return self._described(command.device, result)
        self._recorder.fingerprint(command.device, result)
        return None

    def _described(self, device: str, result: Any) -> Event | None:
        key = DeviceKey.parse(device)
        if not isinstance(result, Description):
            if not self._watch.failed(device, _failure(device, "describe", result), stuck=True):
                self._watch.let_return(device)
            return None
        if not self._watch.admit(key, result, self._work.missing_features(key.device_class, result)):
            return None
        if self._ledger.fingerprint(device, result) is None:
            self._unmeasured[device] = result
        return DeviceJoined(device, key.device_class, timing_cores(result))

    def _built(self, batch: Batch, result: Any) -> Event:
        if isinstance(result, Library):
            failures = dict(result.failures)
        else:
            failures = dict.fromkeys(batch.requests, f"the compiling process died: {result}")
        self._recorder.failures(batch.device_class, failures)
        self._work.settled(batch.device_class, failures)
        return Built(batch, tuple(failures))

    def _measured(self, device: str, batch: Batch, result: Any) -> Event:
        if not isinstance(result, BatchResult):
            result = BatchResult({}, failure=_failure(device, "measure", result))
        self._recorder.timings(device, result.timings, each_unit=batch.common)
        if result.drift is not None:
            self._recorder.drift(device, result.drift)
        if not batch.common:  # Those are for units that come later, too.
            self._work.settled(batch.device_class, result.timings)
        if result.failure is None:
            self._watch.worked(device)
            return Measured(device, batch, tuple(result.timings))
        stuck = not result.timings and result.culprit is None
        if self._watch.failed(device, result.failure, stuck=stuck):
            return DeviceLost(device, result.failure.message)
        return Measured(device, batch, tuple(result.timings), result.culprit)

    def _ran(self, device: str, selection: Selection, result: Any) -> Event:
        if not isinstance(result, RunResult):
            failure = _failure(device, "run", result)
            if self._watch.failed(device, failure, stuck=True):
                return DeviceLost(device, failure.message)
            return Ran(device, str(failure))
        self._watch.worked(device)
        executable = self._work.deployed(class_of(device), selection)
        run = self._recorder.run(device, selection, result, self._work.effect(result.answers), executable)
        if run.disturbed(self._terms.goals[class_of(device)].bounds.percentile):
            return Ran(device, "something else kept the device busy; leave it alone and run again")
        if not is_uniform(self._ledger.tables[class_of(device)], selection.variants):
            self._rounds.add(device)
        self._best[device] = best_text(self._ledger.knowledge(device), self._terms.goals[class_of(device)])
        return Ran(device)

    def _profiled(self, device: str, selections: Sequence[Selection], result: Any) -> Event:
        """Without a profile kernels count as they do alone: it is not asked for again."""
        if isinstance(result, ProfileResult):
            self._watch.worked(device)
            self._recorder.profile(device, selections, result)
            return Profiled(device)
        self._unprofiled.add(device)
        failure = _failure(device, "profile", result)
        if self._watch.failed(device, failure, stuck=True):
            return DeviceLost(device, failure.message)
        return Profiled(device, str(failure))

    # --- commands

    def _carry_out(self, command: Command) -> Event | None:
        """Start a command, or answer it at once where it is a thought and not a deed."""
        match command:
            case Decide(device, final):
                return Decided(device, self._decide(device, final))
            case Rank(device_class, devices):
                return Ranked(device_class, self._ledger.slowest_first(devices))
            case Discard(device_class, request, device):
                reason = f"it ended {CRASHES_BEFORE_DISCARD} sessions, the last one on {device}"
                self._recorder.failures(device_class, {request: reason})
                self._work.settled(device_class, [request])
            case _:
                if isinstance(command, Measure | RunConfiguration | Profile):
                    self._take_fingerprint(command.device)
                self._crew.start(command, self._task(command))
        return None

    def _take_fingerprint(self, device: str) -> None:
        """In the time that a device was given its cores for: its actor does one thing after the other."""
        if description := self._unmeasured.pop(device, None):
            task = self._work.fingerprint(self._actor(device), class_of(device), description.memory_bytes)
            self._crew.start(TakeFingerprint(device), task)

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
                limit = self._memory_limit(device)
                return self._work.run(self._actor(device), class_of(device), selection, reference, limit)
            case Profile(device, selections):
                return self._work.profile(self._actor(device), class_of(device), selections)
        raise AssertionError(f"{command} is no task")

    def _missing(self, layer: str) -> tuple[str, ...]:
        return self._ledger.missing_approximations(layer, self._work.anchors[layer])

    def _decide(self, device: str, final: Finished | None) -> Decision:
        """For a unit that searches, or that runs what its class has found."""
        device_class = class_of(device)
        table, goal = self._ledger.tables[device_class], self._terms.goals[device_class]
        knowledge, spent = self._ledger.knowledge(device), self._rounds.spent(device)
        if self._budget_spent:
            knowledge, spent = knowledge.measured(), replace(spent, budget=True)
        if final is not None:
            return follow(table, knowledge, goal, final)
        policy = self._terms.policy
        if self._budget_spent or device in self._unprofiled:
            policy = replace(policy, profiled=0)
        return decide(table, knowledge, goal, policy, spent)

    def _memory_limit(self, device: str) -> int | None:
        """Bytes that a configuration may have on the device; a share needs the exact one's first run."""
        bound, exact = self._terms.goals[class_of(device)].bounds.memory, self._ledger.exact_run(device)
        if bound is None or (bound.relative and exact is None):
            return None
        return int(bound.of(0.0 if exact is None else exact.peak_bytes))

    def _actor(self, device: str) -> Any:
        return self._crew.device(DeviceKey.parse(device))


def _on_a_device(command: Any) -> bool:
    return isinstance(command, Describe | TakeFingerprint | Measure | RunConfiguration | Profile)


def _runs_on(command: Any, device: str) -> bool:
    """Whether the command ends with the device; a joint evaluation goes on without it."""
    return _on_a_device(command) and command.device == device


def _failure(device: str, operation: str, result: Any) -> Failure:
    """The driver's own account of what went wrong, or that the driver itself is gone."""
    if isinstance(result, Failure):
        return result
    return Failure("crash", f"the process that drives it died: {result}", device, operation)


def _expect(result: Any) -> Any:
    """The result of host work that only a dead machine can fail; it has been tried again and again."""
    if isinstance(result, Exception):
        raise result
    return result
