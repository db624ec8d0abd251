"""How a run times kernels: the coordinator's commands, carried out by Ray's tasks and device actors.

The loop of a run besides stores results and decides; here are the coordinator, the crew, the tasks and the
actors themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import ray

from benchmarks.throughput_fleet import ClassWork
from cluster.coordinator import Coordinator
from cluster.crew import Crew
from cluster.events import Batch, Build, Built, Command, DeviceJoined, Event, Measure, Measured
from cluster.fleet import timing_cores
from tracker.device import Description, DeviceKey
from tracker.timing import Timing, TimingPolicy
from workers.build import Library
from workers.device import BatchResult
from workers.tasks import build_library

Medians = Mapping[tuple[DeviceKey, str], float]
"""Seconds by device and request."""
WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Pass:
    """Every kernel timed once."""

    seconds: float
    """From the first command to a device to the last result."""
    with_building_s: float
    """From the first command of all."""
    timings: Mapping[DeviceKey, Mapping[str, Timing]]

    @property
    def count(self) -> int:
        """Of kernels."""
        return sum(map(len, self.timings.values()))

    def timed_s(self, device: DeviceKey) -> float:
        """Seconds of all repeats: what the device executed and what counts."""
        return sum(each.number * sum(each.seconds) for each in self.timings.get(device, {}).values())

    def executed_s(self, device: DeviceKey) -> float:
        """The same with the calls that do not count; the fewest that there can be."""
        timings = self.timings.get(device, {}).values()
        return self.timed_s(device) + sum(uncounted_calls(each) * each.median_s for each in timings)


def uncounted_calls(timing: Timing) -> int:
    """The fewest: TVM's evaluator calls once before it counts, and two calls say how many make a repeat.

    Where a call is a repeat those two count.
    """
    return 4 if timing.number > 1 else 2


class Ours:
    """The crew of a run and what it is to measure."""

    def __init__(
        self,
        crew: Crew,
        descriptions: Mapping[DeviceKey, Description],
        work: Mapping[str, ClassWork],
        build_cores: Sequence[int],
    ) -> None:
        self._crew = crew
        self._descriptions = descriptions
        self._work = work
        self._build_cores = tuple(build_cores)
        self._libraries: dict[tuple[str, ...], Any] = {}

    def measure(self, devices: Sequence[DeviceKey], *, afresh: bool = False) -> Pass:
        """Time all kernels of the devices' classes; what is not built yet, or all of it, is built meanwhile.

        Raises RuntimeError where a device fails.
        """
        if afresh:
            self._libraries.clear()
        return _Passage(self, devices).run()

    def joined(self, device: DeviceKey) -> DeviceJoined:
        """The event with which a device takes part."""
        return DeviceJoined(str(device), device.device_class, timing_cores(self._descriptions[device]))

    def wanted(self, devices: Sequence[DeviceKey]) -> dict[str, list[str]]:
        """Requests by class."""
        return {each.device_class: list(self._work[each.device_class].kernels) for each in devices}

    def built(self, batch: Batch) -> bool:
        """Whether the batch's library is there."""
        return batch.requests in self._libraries

    def start(self, command: Command) -> None:
        """Give a command to Ray."""
        match command:
            case Build(batch):
                self._crew.start(command, self._build(batch))
            case Measure(device, batch):
                self._crew.start(command, self._measure(device, batch))

    def collect(self) -> list[tuple[Any, Any]]:
        """Commands that are through, with their results."""
        return list(self._crew.collect(WAIT_S))

    def _build(self, batch: Batch) -> Any:
        work = self._work[batch.device_class]
        kernels = [work.kernels[each] for each in batch.requests]
        reference = build_library.remote(kernels, work.target, self._build_cores)
        self._libraries[batch.requests] = reference
        return reference

    def _measure(self, device: str, batch: Batch) -> Any:
        work = self._work[batch.device_class]
        arguments = {each: work.kernels[each][0].arguments(work.target.isa) for each in batch.requests}
        actor = self._crew.device(DeviceKey.parse(device))
        return actor.measure.remote(self._libraries[batch.requests], arguments, TimingPolicy())


class _Passage:
    """One pass under way."""

    def __init__(self, ours: Ours, devices: Sequence[DeviceKey]) -> None:
        self._ours = ours
        self._devices = tuple(devices)
        wanted = ours.wanted(devices)
        self._coordinator = Coordinator(wanted, ())
        self._left = sum(map(len, wanted.values()))
        self._timings: dict[DeviceKey, dict[str, Timing]] = {each: {} for each in devices}
        self._measuring_since: float | None = None

    def run(self) -> Pass:
        start = perf_counter()
        for device in self._devices:
            self._tell(self._ours.joined(device))
        while self._left:
            for command, result in self._ours.collect():
                self._tell(self._event(command, result))
        end = perf_counter()
        return Pass(end - (self._measuring_since or start), end - start, self._timings)

    def _tell(self, event: Event) -> None:
        events: deque[Event] = deque([event])
        while events:
            for command in self._coordinator.handle(events.popleft()):
                if isinstance(command, Build) and self._ours.built(command.batch):
                    events.append(Built(command.batch))
                    continue
                if isinstance(command, Measure) and self._measuring_since is None:
                    self._measuring_since = perf_counter()
                self._ours.start(command)

    def _event(self, command: Any, result: Any) -> Event:
        if isinstance(command, Build) and isinstance(result, Library) and not result.failures:
            return Built(command.batch)
        if isinstance(command, Measure) and isinstance(result, BatchResult) and result.failure is None:
            timings = {key: each for key, each in result.timings.items() if isinstance(each, Timing)}
            self._timings[DeviceKey.parse(command.device)].update(timings)
            self._left -= len(result.timings)
            return Measured(command.device, command.batch, tuple(result.timings))
        raise RuntimeError(f"{command} gave {result}")


def warm_up(crew: Crew, devices: Sequence[DeviceKey]) -> dict[DeviceKey, Description]:
    """Actors that have driven their devices once, and what those say; raises RuntimeError for a failure."""
    said = dict(zip(devices, ray.get([crew.device(each).describe.remote() for each in devices]), strict=True))
    for device, each in said.items():
        if not isinstance(each, Description):
            raise RuntimeError(f"{device} does not answer: {each}")
    return said
