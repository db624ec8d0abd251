"""The coordinator: who builds, measures, evaluates and verifies what, and when.

A pure state machine: ``handle(event)`` returns commands; no clock, no I/O, neither ray nor tvm. The loop
around it carries the commands out. Laws:

- every wanted request of a class is in exactly one place: queued, building, ready, on a device, or settled;
- devices with a core in common never time at the same moment;
- a request that was running when two sessions died is discarded, all others go back to the queue;
- what a device needs is asked anew (``Decide``) whenever something that it waited for has come.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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

CRASHES_BEFORE_DISCARD = 2
FAILED_RUNS_BEFORE_GIVING_UP = 3
BATCHES_AHEAD = 2


class InvalidTransitionError(RuntimeError):
    """An event that cannot happen now: a bug. The message tells the device's whole story."""


@dataclass(slots=True)
class _Class:
    """Work of one device class."""

    queue: deque[str]
    wanted: set[str]
    building: list[Batch] = field(default_factory=list)
    ready: deque[Batch] = field(default_factory=deque)
    crashes: Counter[str] = field(default_factory=Counter)
    abandoned: str | None = None


@dataclass(slots=True)
class _Device:
    """One unit: what it does now and how far it is."""

    device_class: str
    cores: frozenset[str]
    online: bool = True
    batch: Batch | None = None
    waiting_for: str = "measurements"
    """measurements, decision, joint evaluation, run, nothing."""
    decision: Decision | None = None
    running: bool = False
    failed_runs: int = 0
    outcome: Finished | str | None = None
    story: list[str] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        return self.batch is not None or self.running


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one device is, for whoever watches."""

    device: str
    stage: str
    measured: int
    """Requests of its class that are settled."""
    wanted: int


class Coordinator:
    """Plans the work of one run.

    ``wanted`` holds for each class the requests that the store does not have yet, the most useful first;
    ``layers`` those whose single-layer accuracy effects are not known yet.
    """

    def __init__(
        self,
        wanted: Mapping[str, Sequence[str]],
        layers: Iterable[str],
        *,
        batch_size: int = 16,
        build_slots: int = 1,
    ) -> None:
        self._classes = {name: _Class(deque(keys), set(keys)) for name, keys in wanted.items()}
        self._settled: Counter[str] = Counter()
        self._devices: dict[str, _Device] = {}
        self._layers: deque[str] = deque(layers)
        self._evaluating: set[str] = set()
        self._joint: deque[tuple[str, tuple[str, ...]]] = deque()
        self._jointly_evaluating: set[str] = set()
        self._batch_size = batch_size
        self._build_slots = build_slots
        self._batches = 0

    # --- what others may ask

    @property
    def finished(self) -> bool:
        """Whether every class has been abandoned or all its devices have an outcome."""
        return all(
            each.abandoned or (members and all(unit.outcome is not None for unit in members))
            for name, each in self._classes.items()
            for members in [self._members(name)]
        )

    @property
    def outcomes(self) -> dict[str, Finished | str]:
        """Device to its result, or to the reason why it has none."""
        return {name: unit.outcome for name, unit in self._devices.items() if unit.outcome is not None}

    @property
    def abandoned(self) -> dict[str, str]:
        """Class to the reason why it was given up."""
        return {name: each.abandoned for name, each in self._classes.items() if each.abandoned}

    def unattended(self) -> tuple[str, ...]:
        """Classes with work left and no device online that it could be left to."""
        return tuple(
            name
            for name, each in self._classes.items()
            for members in [self._members(name)]
            if not each.abandoned
            and not any(unit.online and unit.outcome is None for unit in members)
            and not (members and all(unit.outcome for unit in members))
        )

    def progress(self) -> tuple[Progress, ...]:
        """How far every device is, in the order in which they joined."""
        return tuple(
            Progress(
                name,
                self._stage(unit),
                self._settled[unit.device_class],
                self._settled[unit.device_class] + self._outstanding(unit.device_class),
            )
            for name, unit in self._devices.items()
        )

    # --- events

    def handle(self, event: Event) -> list[Command]:
        """Take in one event; the commands that follow from it, in the order in which to start them."""
        commands: list[Command] = []
        match event:
            case DeviceJoined():
                self._join(event)
            case DeviceLost(device, reason):
                self._lose(device, reason)
            case Built(batch, failed):
                self._built(batch, failed)
            case Measured():
                commands += self._measured(event)
            case Evaluated(layer):
                self._evaluating.discard(layer)
            case Decided(device, decision):
                self._decided(device, decision)
            case JointlyEvaluated(device):
                self._jointly_evaluating.discard(device)
                self._await(device, "joint evaluation", then="measurements")
            case Ran(device, failure):
                self._ran(device, failure)
            case ClassAbandoned(device_class, reason):
                self._abandon(device_class, reason)
        return commands + self._schedule()

    def _join(self, event: DeviceJoined) -> None:
        known = self._devices.get(event.device)
        if known is None:
            known = self._devices[event.device] = _Device(event.device_class, event.cores)
        known.online, known.cores = True, event.cores
        known.story.append("joined")

    def _lose(self, device: str, reason: str) -> None:
        unit = self._unit(device, "was lost")
        unit.online = False
        unit.story.append(f"lost: {reason}")
        if unit.batch is not None:
            self._classes[unit.device_class].ready.appendleft(unit.batch)
            unit.batch = None
        if unit.running:
            unit.running, unit.waiting_for = False, "measurements"

    def _built(self, batch: Batch, failed: tuple[str, ...]) -> None:
        work = self._classes[batch.device_class]
        work.building.remove(batch)
        for request in failed:
            self._settle(batch.device_class, request)
        rest = tuple(each for each in batch.requests if each not in failed)
        if rest:
            work.ready.append(Batch(batch.number, batch.device_class, rest))

    def _measured(self, event: Measured) -> list[Command]:
        unit = self._unit(event.device, "finished a batch")
        if unit.batch is None or unit.batch.number != event.batch.number:
            raise InvalidTransitionError(f"{event.device} reports batch {event.batch.number}; {unit.story}")
        unit.batch = None
        work = self._classes[unit.device_class]
        for request in event.done:
            self._settle(unit.device_class, request)
        commands: list[Command] = []
        if event.culprit is not None:
            unit.story.append(f"session died in {event.culprit}")
            work.crashes[event.culprit] += 1
            if work.crashes[event.culprit] >= CRASHES_BEFORE_DISCARD:
                self._settle(unit.device_class, event.culprit)
                commands.append(Discard(unit.device_class, event.culprit, event.device))
        left = tuple(each for each in event.batch.requests if each in work.wanted)
        if left:
            work.ready.appendleft(Batch(event.batch.number, event.batch.device_class, left))
        return commands

    def _decided(self, device: str, decision: Decision) -> None:
        unit = self._await(device, "decision", then="measurements")
        unit.decision = decision
        unit.story.append(type(decision).__name__)
        match decision:
            case NeedMeasurements(requests):
                self._want(unit.device_class, requests)
            case NeedEvaluation(selection):
                unit.waiting_for = "joint evaluation"
                self._joint.append((device, selection.variants))
            case NeedRun():
                unit.waiting_for = "run"
            case Finished():
                unit.waiting_for, unit.outcome = "nothing", decision

    def _ran(self, device: str, failure: str | None) -> None:
        unit = self._unit(device, "ran a configuration")
        unit.running = False
        unit.waiting_for = "measurements"
        if failure is None:
            unit.failed_runs = 0
            return
        unit.story.append(f"run failed: {failure}")
        unit.failed_runs += 1
        if unit.failed_runs >= FAILED_RUNS_BEFORE_GIVING_UP:
            unit.waiting_for, unit.outcome = "nothing", f"its configuration could not be run: {failure}"

    def _abandon(self, device_class: str, reason: str) -> None:
        members = self._members(device_class)
        if not any(isinstance(unit.outcome, Finished) for unit in members):
            self._classes[device_class].abandoned = reason
        for unit in members:
            if unit.outcome is None:
                unit.waiting_for, unit.outcome = "nothing", reason

    # --- commands

    def _schedule(self) -> list[Command]:
        return [*self._decisions(), *self._timings(), *self._host_work()]

    def _decisions(self) -> Iterable[Command]:
        """Ask for a decision where everything that a device waits for is there."""
        if self._layers or self._evaluating:
            return
        for name, unit in self._devices.items():
            if (
                unit.waiting_for == "measurements"
                and not unit.busy
                and not self._outstanding(unit.device_class)
            ):
                unit.waiting_for = "decision"
                yield Decide(name)

    def _timings(self) -> Iterable[Command]:
        """Give free cores their next piece of timed work; runs first, they end a device's job."""
        taken = {core for unit in self._devices.values() if unit.busy for core in unit.cores}
        for name, unit in sorted(self._devices.items(), key=lambda item: item[1].waiting_for != "run"):
            if not unit.online or unit.busy or unit.cores & taken:
                continue
            ready = self._classes[unit.device_class].ready
            if unit.waiting_for == "run" and isinstance(unit.decision, NeedRun):
                unit.running = True
                taken |= unit.cores
                yield RunConfiguration(name, unit.decision.selection)
            elif ready:
                unit.batch = ready.popleft()
                taken |= unit.cores
                yield Measure(name, unit.batch)

    def _host_work(self) -> Iterable[Command]:
        """Fill the build slots: joint evaluations, then libraries that a device wants next, then layers."""
        free = self._build_slots - self._host_busy()
        while free > 0:
            command = self._next_joint() or self._next_build() or self._next_layer()
            if command is None:
                return
            free -= 1
            yield command

    def _next_joint(self) -> Command | None:
        if not self._joint:
            return None
        device, variants = self._joint.popleft()
        self._jointly_evaluating.add(device)
        return EvaluateJointly(device, variants)

    def _next_build(self) -> Command | None:
        """The class that would run dry first builds first."""
        wanting = [
            (len(work.ready) + len(work.building), name)
            for name, work in self._classes.items()
            if work.queue and not work.abandoned and len(work.ready) + len(work.building) < BATCHES_AHEAD
        ]
        if not wanting:
            return None
        name = min(wanting)[1]
        work = self._classes[name]
        keys = tuple(work.queue.popleft() for _ in range(min(self._batch_size, len(work.queue))))
        self._batches += 1
        batch = Batch(self._batches, name, keys)
        work.building.append(batch)
        return Build(batch)

    def _next_layer(self) -> Command | None:
        if not self._layers:
            return None
        layer = self._layers.popleft()
        self._evaluating.add(layer)
        return Evaluate(layer)

    # --- state

    def _host_busy(self) -> int:
        building = sum(len(work.building) for work in self._classes.values())
        return building + len(self._evaluating) + len(self._jointly_evaluating)

    def _want(self, device_class: str, requests: Iterable[str]) -> None:
        work = self._classes[device_class]
        new = [each for each in requests if each not in work.wanted]
        work.wanted.update(new)
        work.queue.extend(new)

    def _settle(self, device_class: str, request: str) -> None:
        work = self._classes[device_class]
        if request in work.wanted:
            work.wanted.remove(request)
            self._settled[device_class] += 1

    def _outstanding(self, device_class: str) -> int:
        return len(self._classes[device_class].wanted)

    def _members(self, device_class: str) -> list[_Device]:
        return [unit for unit in self._devices.values() if unit.device_class == device_class]

    def _unit(self, device: str, deed: str) -> _Device:
        try:
            return self._devices[device]
        except KeyError:
            raise InvalidTransitionError(f"{device} {deed}, but it never joined") from None

    def _await(self, device: str, expected: str, *, then: str) -> _Device:
        unit = self._unit(device, f"got its {expected}")
        if unit.waiting_for != expected:
            raise InvalidTransitionError(
                f"{device} got its {expected} while waiting for {unit.waiting_for}; its story: {unit.story}"
            )
        unit.waiting_for = then
        return unit

    def _stage(self, unit: _Device) -> str:
        if unit.outcome is not None:
            return "done" if isinstance(unit.outcome, Finished) else "failed"
        if not unit.online:
            return "lost"
        if unit.running:
            return "verifying"
        if unit.batch is not None:
            return "measuring"
        return {"measurements": "waiting", "decision": "choosing"}.get(unit.waiting_for, unit.waiting_for)
