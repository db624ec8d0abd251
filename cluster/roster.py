"""Every class and unit of a run: who they are, how far they are, who is still waited for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from cluster.events import DeviceJoined
from cluster.needs import Finished
from cluster.units import ClassWork, Unit, Waiting


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
    best: str = ""
    """The best that is known to keep its bounds, with its error bars."""


class Roster:
    """Units in the order in which they joined; ``measured`` holds what each had measured before."""

    def __init__(self, classes: Iterable[ClassWork], measured: Mapping[str, Collection[str]]) -> None:
        self.classes = {each.name: each for each in classes}
        self.units: dict[str, Unit] = {}
        self._measured = measured
        self._open = set(self.classes)
        self._unattended = set(self.classes)

    @property
    def finished(self) -> bool:
        """Whether every class has been abandoned or all its devices have an outcome."""
        return not self._open

    @property
    def outcomes(self) -> dict[str, Finished | str]:
        """Device to its result, or to the reason why it has none."""
        return {name: unit.outcome for name, unit in self.units.items() if unit.outcome is not None}

    @property
    def abandoned(self) -> dict[str, str]:
        """Class to the reason why it was given up."""
        return {name: each.abandoned for name, each in self.classes.items() if each.abandoned}

    def unattended(self) -> tuple[str, ...]:
        """Classes with work left and no device online that it could be left to."""
        return tuple(name for name in self.classes if name in self._unattended) if self._unattended else ()

    def progress(self) -> tuple[Progress, ...]:
        """How far every device is; costs as much as there are devices."""
        return tuple(
            Progress(name, unit.stage, work.settled, work.settled + len(work.wanted))
            for name, unit in self.units.items()
            for work in [unit.work]
        )

    def join(self, event: DeviceJoined) -> Unit:
        """The unit, known or new, as it is now."""
        unit = self.units.get(event.device)
        if unit is None:
            work = self.classes[event.device_class]
            own = set(work.common).difference(self._measured.get(event.device, ()))
            unit = Unit(event.device, len(self.units), work, event.cores, own)
            self.units[event.device] = unit
        unit.go_online(True)
        unit.cores = event.cores
        unit.story.append("joined")
        return unit

    def unit(self, device: str, deed: str) -> Unit:
        """Raises InvalidTransitionError where the device never joined."""
        try:
            return self.units[device]
        except KeyError:
            raise InvalidTransitionError(f"{device} {deed}, but it never joined") from None

    def awaiting(self, device: str, expected: Waiting) -> Unit:
        """Raises InvalidTransitionError where the device waits for something else."""
        unit = self.unit(device, f"got its {expected}")
        if unit.waiting_for != expected:
            raise wrong(unit, f"got its {expected} while waiting for {unit.waiting_for}")
        return unit

    def note(self, work: ClassWork) -> None:
        """Something of the class has changed: whether it is still open, and attended."""
        name = work.name
        if work.done:
            self._open.discard(name)
            self._unattended.discard(name)
            return
        self._open.add(name)
        if work.attended:
            self._unattended.discard(name)
        else:
            self._unattended.add(name)


def wrong(unit: Unit, deed: str) -> InvalidTransitionError:
    """An error that tells the unit's story."""
    return InvalidTransitionError(f"{unit.device} {deed}; its story: {list(unit.story)}")
