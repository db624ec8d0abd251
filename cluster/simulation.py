"""A run on a simulated fleet: the real coordinator on a clock of its own, a heap of what will happen.

Commands are carried out as ``cluster.loop`` does: thoughts at once, work when it is through, and what a lost
device was doing is forgotten. A day of a farm takes seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from cluster.coordinator import Coordinator
from cluster.events import (
    Batch,
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
    Rank,
    Ranked,
    RunConfiguration,
)
from cluster.needs import Decision, Finished
from workers.simulated_device import SimulatedDevice


@dataclass(frozen=True, slots=True)
class HostTimes:
    """What the cluster's own work takes, in seconds."""

    link_s: float = 0.3
    """To link a library..."""
    kernel_s: float = 0.05
    """... of kernels that take so long to compile, each."""
    evaluation_s: float = 5.0
    run_s: float = 10.0
    """A configuration on a device, on the middle unit: all its sessions."""
    detection_s: float = 6.0
    """Until a device that is lost is missed."""


class Decider(Protocol):
    """What a device needs next; for those that follow, to run what their class has found."""

    def __call__(self, device: str, final: Finished | None, /) -> Decision:
        """Pure, like ``cluster.decision``."""


@dataclass(slots=True)
class Tally:
    """What happened in a simulated run."""

    events: int = 0
    losses: int = 0
    crashes: int = 0
    discarded: int = 0
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class _Vanished:
    """A device stops answering."""

    device: str


class Simulation:
    """One run; devices join at the start, and whenever they are back."""

    def __init__(
        self,
        coordinator: Coordinator,
        devices: Mapping[str, SimulatedDevice],
        decide: Decider,
        host: HostTimes,
        note: Callable[[float, Measured], None],
    ) -> None:
        """``note`` hears of every batch that is through and when, before the coordinator does."""
        self.now_s = 0.0
        self.tally = Tally()
        self._coordinator = coordinator
        self._devices = devices
        self._decide = decide
        self._host = host
        self._note = note
        self._future: list[tuple[float, int, Event | _Vanished, str | None, int]] = []
        self._planned = 0
        self._lives: Counter[str] = Counter()
        for name in devices:
            self._plan(0.0, self._joins(name))

    def run(self) -> None:
        """Until every class is through, or nothing happens any more."""
        while self._future and not self._coordinator.finished:
            self.now_s, _, event, device, life = heappop(self._future)
            if isinstance(event, _Vanished):
                self._vanish(event.device)
            elif device is None or life == self._lives[device]:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        events = [event]
        for told in events:  # It grows meanwhile.
            self.tally.events += 1
            self._hear(told)
            for command in self._coordinator.handle(told):
                if (answer := self._carry_out(command)) is not None:
                    events.append(answer)

    def _hear(self, event: Event) -> None:
        match event:
            case Measured():
                self._note(self.now_s, event)
                self.tally.crashes += event.culprit is not None
            case DeviceJoined(device):
                self._devices[device].online = True
                self._plan_loss(device)

    # --- devices that come and go

    def _joins(self, device: str) -> DeviceJoined:
        return DeviceJoined(device, self._devices[device].key.device_class, frozenset({device}))

    def _plan_loss(self, device: str) -> None:
        unit = self._devices[device]
        if unit.faults.loss_every_s is not None:
            self._plan(unit.random.expovariate(1 / unit.faults.loss_every_s), _Vanished(device))

    def _vanish(self, device: str) -> None:
        """It is gone with what it was doing; nobody knows until it is missed."""
        unit = self._devices[device]
        self.tally.losses += 1
        self._lives[device] += 1
        unit.online = False
        missed_s = self._host.detection_s
        self._plan(missed_s, DeviceLost(device, "it is gone"))
        self._plan(missed_s + unit.random.expovariate(1 / unit.faults.away_s), self._joins(device))

    # --- commands

    def _carry_out(self, command: Command) -> Event | None:
        match command:
            case Measure(device, batch):
                self._measure(device, batch)
            case Build(batch):
                host = self._host
                self._plan(host.link_s + host.kernel_s * len(batch.requests), Built(batch))
            case RunConfiguration(device):
                self._plan(self._host.run_s * self._devices[device].factor, Ran(device), device)
            case Decide(device, final):
                return Decided(device, self._decide(device, final))
            case Rank(device_class, devices):
                return Ranked(
                    device_class, tuple(sorted(devices, key=lambda each: -self._devices[each].factor))
                )
            case Evaluate(layer):
                self._plan(self._host.evaluation_s, Evaluated(layer))
            case EvaluateJointly(device):
                self._plan(self._host.evaluation_s, JointlyEvaluated(device))
            case Discard():
                self.tally.discarded += 1
        return None

    def _measure(self, device: str, batch: Batch) -> None:
        self.tally.sessions += 1
        attempt = self._devices[device].attempt(batch.requests)
        self._plan(attempt.duration_s, Measured(device, batch, attempt.done, attempt.culprit), device)

    def _plan(self, in_s: float, event: Event | _Vanished, device: str | None = None) -> None:
        """Let something happen; where it happens on a device, only if that is there until then."""
        if device is not None and not self._devices[device].online:
            return
        self._planned += 1
        life = 0 if device is None else self._lives[device]
        heappush(self._future, (self.now_s + in_s, self._planned, event, device, life))
