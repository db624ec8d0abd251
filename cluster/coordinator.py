"""The coordinator: who builds, measures, evaluates and verifies what, and when.

A pure state machine: ``handle(event)`` returns commands; no clock, no I/O, neither ray nor tvm. The loop
around it carries the commands out. Laws:

- every wanted request of a class is in exactly one place: queued, building, ready, on a device, or settled;
- devices with a core in common never time at the same moment;
- a request that was running when two sessions died is discarded, all others go back to the queue;
- what a device needs is asked anew (``Decide``) whenever something that it waited for has come;
- an event costs what it touches, however many devices there are;
- the same events in the same order give the same commands: who joined first goes first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cluster.events import (
    Batch,
    Built,
    ClassAbandoned,
    Command,
    Decide,
    Decided,
    DeviceJoined,
    DeviceLost,
    Discard,
    Evaluated,
    Event,
    JointlyEvaluated,
    Measured,
    Ran,
    Ranked,
)
from cluster.governing import Governing, in_order
from cluster.host_slots import HostSlots
from cluster.needs import Decision, Finished, NeedEvaluation, NeedMeasurements, NeedRun, TakeOver
from cluster.timing_cores import TimingCores
from cluster.units import ClassWork, Unit, Waiting, class_work

CRASHES_BEFORE_DISCARD = 2
FAILED_RUNS_BEFORE_GIVING_UP = 3


class InvalidTransitionError(RuntimeError):
    """An event that cannot happen now: a bug. The message tells the device's story."""


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
    ``layers`` those whose single-layer accuracy effects are not known yet. ``common`` holds for each class
    the requests that every unit measures, ``measured`` for each device those of them that it has measured
    before. The units of the ``shared`` classes share one configuration.
    """

    def __init__(
        self,
        wanted: Mapping[str, Sequence[str]],
        layers: Iterable[str],
        *,
        common: Mapping[str, Sequence[str]] | None = None,
        measured: Mapping[str, Collection[str]] | None = None,
        shared: Collection[str] = (),
        batch_size: int = 16,
        build_slots: int = 1,
    ) -> None:
        every = common or {}
        self._classes = {name: class_work(name, keys, every.get(name, ())) for name, keys in wanted.items()}
        self._known_before = measured or {}
        self._governing = {name: Governing(self._classes[name]) for name in shared}
        self._units: dict[str, Unit] = {}
        self._cores = TimingCores()
        self._host = HostSlots(build_slots, batch_size, layers, self._classes.values())
        self._open = dict.fromkeys(self._classes)
        self._unattended = dict.fromkeys(self._classes)
        self._touched: dict[str, ClassWork] = {}
        self._free: list[Unit] = []
        self._released: list[Unit] = []

    # --- what others may ask

    @property
    def finished(self) -> bool:
        """Whether every class has been abandoned or all its devices have an outcome."""
        return not self._open

    @property
    def outcomes(self) -> dict[str, Finished | str]:
        """Device to its result, or to the reason why it has none."""
        return {name: unit.outcome for name, unit in self._units.items() if unit.outcome is not None}

    @property
    def abandoned(self) -> dict[str, str]:
        """Class to the reason why it was given up."""
        return {name: each.abandoned for name, each in self._classes.items() if each.abandoned}

    def unattended(self) -> tuple[str, ...]:
        """Classes with work left and no device online that it could be left to, in the order given."""
        return tuple(name for name in self._classes if name in self._unattended) if self._unattended else ()

    def knows(self, device: str) -> bool:
        """Whether the device has ever joined."""
        return device in self._units

    def progress(self) -> tuple[Progress, ...]:
        """How far every device is, in the order in which they joined; costs as much as there are devices."""
        return tuple(
            Progress(name, unit.stage, work.settled, work.settled + len(work.wanted))
            for name, unit in self._units.items()
            for work in [unit.work]
        )

    # --- events

    def handle(self, event: Event) -> list[Command]:
        """Take in one event; the commands that follow from it, in the order in which to start them."""
        commands: list[Command] = []
        match event:
            case Measured():
                commands += self._measured(event)
            case Built(batch, failed):
                self._built(batch, failed)
            case Decided(device, decision):
                self._decided(device, decision)
            case Ran(device, failure):
                self._ran(device, failure)
            case JointlyEvaluated(device):
                self._evaluated_jointly(device)
            case Evaluated(layer):
                if self._host.evaluated(layer):
                    self._touched.update(self._classes)
            case DeviceJoined():
                self._join(event)
            case DeviceLost(device, reason):
                self._lose(device, reason)
            case Ranked(device_class, devices):
                self._governing[device_class].rank([self._units[each] for each in devices])
                self._touch(self._classes[device_class])
            case ClassAbandoned(device_class, reason):
                self._abandon(device_class, reason)
        commands += self._schedule()
        return commands

    def _join(self, event: DeviceJoined) -> None:
        unit = self._units.get(event.device)
        if unit is None:
            work = self._classes[event.device_class]
            own = set(work.common).difference(self._known_before.get(event.device, ()))
            unit = Unit(event.device, len(self._units), work, event.cores, own)
            self._units[event.device] = unit
        unit.go_online(True)
        unit.cores = event.cores
        unit.story.append("joined")
        self._offer_again(unit)

    def _lose(self, device: str, reason: str) -> None:
        unit = self._unit(device, "was lost")
        unit.go_online(False)
        unit.story.append(f"lost: {reason}")
        self._touch(unit.work)
        if unit.batch is not None:
            unit.work.put_back(unit.batch)
        if unit.running:
            unit.wait_for("measurements")
        self._leave(unit)
        self._release(unit)

    def _built(self, batch: Batch, failed: tuple[str, ...]) -> None:
        self._host.built(batch)
        work = self._classes[batch.device_class]
        work.built(batch, failed)
        self._touch(work)

    def _measured(self, event: Measured) -> list[Command]:
        unit = self._unit(event.device, "finished a batch")
        if unit.batch is None or unit.batch.number != event.batch.number:
            raise InvalidTransitionError(
                f"{event.device} reports batch {event.batch.number}; its story: {list(unit.story)}"
            )
        work = unit.work
        work.settle(event.done)
        unit.measured_itself(event.done)
        commands = [] if event.culprit is None else self._crashed(unit, event.culprit)
        work.put_back(unit.batch)
        self._touch(work)
        self._release(unit)
        return commands

    def _crashed(self, unit: Unit, culprit: str) -> list[Command]:
        unit.story.append(f"session died in {culprit}")
        unit.work.crashes[culprit] += 1
        if unit.work.crashes[culprit] != CRASHES_BEFORE_DISCARD:
            return []  # Common requests may be on more units than that when they are discarded.
        unit.work.drop(culprit)
        return [Discard(unit.work.name, culprit, unit.device)]

    def _decided(self, device: str, decision: Decision) -> None:
        unit = self._await(device, "decision")
        unit.decision = decision
        unit.story.append(type(decision).__name__)
        self._touch(unit.work)
        governing = self._governing.get(unit.work.name)
        match decision:
            case NeedMeasurements(requests):
                unit.work.want(requests)
                unit.wait_for("measurements")
            case NeedEvaluation(selection):
                unit.wait_for("joint evaluation")
                self._host.ask(device, selection.variants)
            case NeedRun():
                unit.wait_for("run")
                self._offer_again(unit)
            case Finished() if governing:
                governing.finish(unit, decision)
            case Finished():
                unit.conclude(decision)
            case TakeOver() if governing:
                governing.take_over(unit)

    def _evaluated_jointly(self, device: str) -> None:
        waiting = self._host.evaluated_jointly(device)
        if not waiting:
            self._await(device, "joint evaluation")
        for name in waiting:
            # A class may have been given up meanwhile.
            if self._units[name].outcome is None:
                self._await(name, "joint evaluation").wait_for("measurements")
                self._touch(self._units[name].work)

    def _ran(self, device: str, failure: str | None) -> None:
        unit = self._unit(device, "ran a configuration")
        if not unit.running:
            raise InvalidTransitionError(f"{device} reports a run; its story: {list(unit.story)}")
        if unit.outcome is None:
            unit.wait_for("measurements")
        unit.failed_runs = 0 if failure is None else unit.failed_runs + 1
        if failure is not None:
            unit.story.append(f"run failed: {failure}")
        if unit.failed_runs >= FAILED_RUNS_BEFORE_GIVING_UP:
            unit.conclude(f"its configuration could not be run: {failure}")
            self._leave(unit)
        self._touch(unit.work)
        self._release(unit)

    def _abandon(self, device_class: str, reason: str) -> None:
        work = self._classes[device_class]
        if not any(isinstance(unit.outcome, Finished) for unit in work.units):
            work.abandoned = reason
        for unit in work.units:
            if unit.outcome is None:
                unit.conclude(reason)
        self._touch(work)

    # --- commands

    def _schedule(self) -> Iterator[Command]:
        touched, self._touched = list(self._touched.values()), {}
        decidable = self._host.layers_known
        for work in touched:
            self._note(work)
            if decidable and not work.wanted and work.undecided:
                yield from self._decisions(work)
        yield from self._timings(touched)
        yield from self._host.commands()

    def _decisions(self, work: ClassWork) -> Iterator[Command]:
        """Ask for a decision where everything that a device waits for is there."""
        governing = self._governing.get(work.name)
        asked = (
            governing.commands() if governing else (Decide(each.device) for each in in_order(work.undecided))
        )
        for command in asked:
            if isinstance(command, Decide):
                self._units[command.device].wait_for("decision")
            yield command

    def _timings(self, touched: Iterable[ClassWork]) -> Iterator[Command]:
        """Give free cores their next piece of timed work."""
        released, self._released = self._released, []
        for through in released:
            for unit in self._cores.release(through):
                yield from self._offer(unit)
        free, self._free = self._free, []
        for unit in free:
            yield from self._offer(unit)
        for work in touched:
            while idle := work.rouse():
                yield from self._offer(idle)

    def _offer(self, unit: Unit) -> Iterator[Command]:
        """Start the unit's next work; without any it is idle, without its cores it waits for them."""
        if not unit.online or unit.busy:
            return
        if not unit.has_work:
            unit.work.rest(unit)
        elif core := self._cores.taken(unit):
            self._cores.park(unit, core)
        else:
            self._cores.take(unit)
            yield unit.start()
            self._host.touch(unit.work)

    # --- state

    def _touch(self, work: ClassWork) -> None:
        """Whatever depends on the class is looked at before the event is through."""
        self._touched[work.name] = work

    def _note(self, work: ClassWork) -> None:
        """Keep the sets of open and of unattended classes up to date."""
        self._host.touch(work)
        name = work.name
        if work.done:
            self._open.pop(name, None)
            self._unattended.pop(name, None)
            return
        self._open[name] = None
        if work.attended:
            self._unattended.pop(name, None)
        else:
            self._unattended[name] = None

    def _offer_again(self, unit: Unit) -> None:
        """The unit may have something to do now."""
        self._touch(unit.work)
        self._free.append(unit)

    def _leave(self, unit: Unit) -> None:
        """The unit cannot search for its class now."""
        if governing := self._governing.get(unit.work.name):
            governing.leave(unit)

    def _release(self, unit: Unit) -> None:
        """The unit is no longer being timed."""
        unit.batch, unit.running = None, False
        self._released.append(unit)

    def _unit(self, device: str, deed: str) -> Unit:
        try:
            return self._units[device]
        except KeyError:
            raise InvalidTransitionError(f"{device} {deed}, but it never joined") from None

    def _await(self, device: str, expected: Waiting) -> Unit:
        unit = self._unit(device, f"got its {expected}")
        if unit.waiting_for != expected:
            raise InvalidTransitionError(
                f"{device} got its {expected} while waiting for {unit.waiting_for}; "
                f"its story: {list(unit.story)}"
            )
        return unit
