"""Who times now: devices with a core in common never do at the same moment. Pure.

A free unit that has work but not its cores is parked at one that is taken. Whoever gives that core back wakes
those parked there, until one of them has taken it again: every event costs what it touches.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from cluster.units import Unit


class TimingCores:
    """Cores that are being timed on, and the units that wait for them."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._parked: dict[str, list[tuple[bool, int, Unit]]] = {}

    def taken(self, unit: Unit) -> str | None:
        """A core of the unit's that another one times on."""
        return next(iter(sorted(unit.cores & self._taken)), None) if self._taken else None

    def take(self, unit: Unit) -> None:
        """The unit starts timing."""
        unit.occupied = unit.cores
        self._taken |= unit.cores

    def park(self, unit: Unit, core: str) -> None:
        """Let the unit wait for a core: runs go first, then whoever joined first."""
        unit.parked = core
        heappush(self._parked.setdefault(core, []), (unit.waiting_for != "run", unit.order, unit))

    def release(self, unit: Unit) -> Iterator[Unit]:
        """The unit is through; itself and those that waited for its cores, as long as these stay free.

        Whoever asks for the next one has given the one before its work.
        """
        cores, unit.occupied = sorted(unit.occupied), frozenset()
        self._taken.difference_update(cores)
        waited = [core for core in cores if core in self._parked]
        if not waited:
            yield unit
            return
        self.park(unit, waited[0])
        for core in waited:
            yield from self._wake(core)

    def _wake(self, core: str) -> Iterator[Unit]:
        parked = self._parked[core]
        while parked and core not in self._taken:
            _, _, unit = heappop(parked)
            if unit.parked == core:
                unit.parked = None
                yield unit
        if not parked:
            del self._parked[core]
