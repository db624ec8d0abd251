"""The coordinator: who builds, measures, evaluates and verifies what, and when.

A pure state machine: ``handle(event)`` returns commands; no clock, no I/O, neither ray nor tvm. The loop
around it carries the commands out. Laws:

- every wanted request of a class is in exactly one place: queued, building, ready, on a device, or settled;
  when the budget is spent, what no device has begun is wanted no longer;
- devices with a core in common never time at the same moment;
- a request that was running when a session died is tried once more, where there is one on another unit; when
  a second session dies of it, it is discarded; all others go back to the queue;
- what a device needs is asked anew (``Decide``) whenever something that it waited for has come;
- an event costs what it touches, however many devices there are;
- the same events in the same order give the same commands: who joined first goes first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from cluster.events import (
    Batch,
    BudgetSpent,
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
    Profiled,
    Ran,
    Ranked,
)
from cluster.governing import Governing, in_order
from cluster.host_slots import HostSlots
from cluster.needs import Decision, Finished, NeedEvaluation, NeedMeasurements, NeedProfile, NeedRun, TakeOver
from cluster.roster import InvalidTransitionError, Progress, Roster, wrong
from cluster.timings import Timings
from cluster.units import ClassWork, Unit, class_work

__all__ = ["Coordinator", "InvalidTransitionError", "Progress"]

CRASHES_BEFORE_DISCARD = 2
FAILED_RUNS_BEFORE_GIVING_UP = 5


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
        classes = {name: class_work(name, keys, every.get(name, ())) for name, keys in wanted.items()}
        self._roster = Roster(classes.values(), measured or {})
        self._governing = {name: Governing(classes[name]) for name in shared}
        self._host = HostSlots(build_slots, batch_size, layers, classes.values())
        self._timings = Timings(self._host.touch)
        self._touched: dict[str, ClassWork] = {}

    # --- what others may ask

    @property
    def finished(self) -> bool:
        """Whether every class has been abandoned or all its devices have an outcome."""
        return self._roster.finished

    @property
    def outcomes(self) -> dict[str, Finished | str]:
        """Device to its result, or to the reason why it has none."""
        return self._roster.outcomes

    @property
    def abandoned(self) -> dict[str, str]:
        """Class to the reason why it was given up."""
        return self._roster.abandoned

    def unattended(self) -> tuple[str, ...]:
        """Classes with work left and no device online that it could be left to, in the order given."""
        return self._roster.unattended()

    def knows(self, device: str) -> bool:
        """Whether the device has ever joined."""
        return device in self._roster.units

    def progress(self) -> tuple[Progress, ...]:
        """How far every device is, in the order in which they joined; costs as much as there are devices."""
        return self._roster.progress()

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
            case Profiled(device, failure):
                self._profiled(device, failure)
            case JointlyEvaluated(device):
                self._evaluated_jointly(device)
            case Evaluated(layer):
                if self._host.evaluated(layer):
                    self._touched.update(self._roster.classes)
            case DeviceJoined():
                self._join(event)
            case DeviceLost(device, reason):
                self._lose(device, reason)
            case Ranked(device_class, devices):
                self._governing[device_class].rank([self._roster.units[each] for each in devices])
                self._touch(self._roster.classes[device_class])
            case ClassAbandoned() | BudgetSpent():
                self._do_without(event)
        commands += self._schedule()
        return commands

    def _join(self, event: DeviceJoined) -> None:
        self._offer(self._roster.join(event))

    def _lose(self, device: str, reason: str) -> None:
        unit = self._roster.unit(device, "was lost")
        unit.go_online(False)
        unit.story.append(f"lost: {reason}")
        self._touch(unit.work)
        if unit.batch is not None:
            unit.work.put_back(unit.batch, unit)
        if unit.running:
            unit.wait_for("measurements")
        self._leave(unit)
        self._timings.release(unit)

    def _built(self, batch: Batch, failed: tuple[str, ...]) -> None:
        self._host.built(batch)
        work = self._roster.classes[batch.device_class]
        work.built(batch, failed)
        self._touch(work)

    def _measured(self, event: Measured) -> list[Command]:
        unit = self._roster.unit(event.device, "finished a batch")
        if unit.batch is None or unit.batch.number != event.batch.number:
            raise wrong(unit, f"reports batch {event.batch.number}")
        work = unit.work
        work.settle(event.done)
        unit.measured_itself(event.done)
        commands = [] if event.culprit is None else self._crashed(unit, event.culprit)
        work.put_back(unit.batch, unit, event.culprit)
        self._touch(work)
        self._timings.release(unit)
        return commands

    def _crashed(self, unit: Unit, culprit: str) -> list[Command]:
        unit.story.append(f"session died in {culprit}")
        unit.work.crashes[culprit] += 1
        if unit.work.crashes[culprit] != CRASHES_BEFORE_DISCARD:
            return []  # Common requests may be on more units than that when they are discarded.
        unit.work.drop(culprit)
        return [Discard(unit.work.name, culprit, unit.device)]

    def _decided(self, device: str, decision: Decision) -> None:
        unit = self._roster.awaiting(device, "decision")
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
            case NeedRun() | NeedProfile():
                unit.wait_for("run")
                self._offer(unit)
            case Finished() if governing:
                governing.finish(unit, decision)
            case Finished():
                unit.conclude(decision)
            case TakeOver() if governing:
                governing.take_over(unit)

    def _evaluated_jointly(self, device: str) -> None:
        waiting = self._host.evaluated_jointly(device)
        if not waiting:
            self._roster.awaiting(device, "joint evaluation")
        for name in waiting:
            # A class may have been given up meanwhile.
            if self._roster.units[name].outcome is None:
                self._roster.awaiting(name, "joint evaluation").wait_for("measurements")
                self._touch(self._roster.units[name].work)

    def _ran(self, device: str, failure: str | None) -> None:
        unit = self._roster.unit(device, "ran a configuration")
        if not unit.running:
            raise wrong(unit, "reports a run that it was not given")
        if unit.outcome is None:
            unit.wait_for("measurements")
        unit.failed_runs = 0 if failure is None else unit.failed_runs + 1
        if failure is not None:
            unit.story.append(f"run failed: {failure}")
        if unit.failed_runs >= FAILED_RUNS_BEFORE_GIVING_UP:
            unit.conclude(f"its configuration could not be run: {failure}")
            self._leave(unit)
        self._touch(unit.work)
        self._timings.release(unit)

    def _do_without(self, event: ClassAbandoned | BudgetSpent) -> None:
        if isinstance(event, ClassAbandoned):
            self._abandon(event.device_class, event.reason)
            return
        for work in self._roster.classes.values():
            work.forgo()
            self._touch(work)

    def _profiled(self, device: str, failure: str | None) -> None:
        """Choices are possible without a profile: its failure is nobody's end."""
        unit = self._roster.unit(device, "ran a profile")
        if not unit.running:
            raise wrong(unit, "reports a profile that it was not asked for")
        if failure is not None:
            unit.story.append(f"profile failed: {failure}")
        if unit.outcome is None:
            unit.wait_for("measurements")
        self._touch(unit.work)
        self._timings.release(unit)

    def _abandon(self, device_class: str, reason: str) -> None:
        work = self._roster.classes[device_class]
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
            self._host.touch(work)
            self._roster.note(work)
            if decidable and not work.wanted and work.undecided:
                yield from self._decisions(work)
        yield from self._timings.commands(touched)
        yield from self._host.commands()

    def _decisions(self, work: ClassWork) -> Iterator[Command]:
        """Ask for a decision where everything that a device waits for is there."""
        governing = self._governing.get(work.name)
        asked = (
            governing.commands() if governing else (Decide(each.device) for each in in_order(work.undecided))
        )
        for command in asked:
            if isinstance(command, Decide):
                self._roster.units[command.device].wait_for("decision")
            yield command

    # --- state

    def _touch(self, work: ClassWork) -> None:
        """Whatever depends on the class is looked at before the event is through."""
        self._touched[work.name] = work

    def _offer(self, unit: Unit) -> None:
        """The unit may have something to do now."""
        self._touch(unit.work)
        self._timings.offer(unit)

    def _leave(self, unit: Unit) -> None:
        """The unit cannot search for its class now."""
        if governing := self._governing.get(unit.work.name):
            governing.leave(unit)
