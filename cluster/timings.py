"""Timed work for free units: runs and libraries, where their cores are free. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cluster.events import Measure, Profile, RunConfiguration
from cluster.timing_cores import TimingCores
from cluster.units import ClassWork, Unit


class Timings:
    """Units that may have something to do since the last event, and what they are given.

    ``note`` hears of each class of which a library was taken.
    """

    def __init__(self, note: Callable[[ClassWork], None]) -> None:
        self._cores = TimingCores()
        self._note = note
        self._free: list[Unit] = []
        self._released: list[Unit] = []

    def offer(self, unit: Unit) -> None:
        """The unit may have something to do now."""
        self._free.append(unit)

    def release(self, unit: Unit) -> None:
        """The unit is no longer being timed."""
        unit.batch, unit.running = None, False
        self._released.append(unit)

    def commands(self, touched: Iterable[ClassWork]) -> Iterator[Measure | RunConfiguration | Profile]:
        """The next timed work: for whoever was released or offered, then for who is idle."""
        released, self._released = self._released, []
        for through in released:
            for unit in self._cores.release(through):
                yield from self._start(unit)
        free, self._free = self._free, []
        for unit in free:
            yield from self._start(unit)
        for work in touched:
            while idle := work.rouse():
                yield from self._start(idle)

    def _start(self, unit: Unit) -> Iterator[Measure | RunConfiguration | Profile]:
        """Its next work; without any it is idle, without its cores it waits for them."""
        if not unit.online or unit.busy:
            return
        if not unit.has_work:
            unit.work.rest(unit)
        elif core := self._cores.taken(unit):
            self._cores.park(unit, core)
        else:
            self._cores.take(unit)
            yield unit.start()
            self._note(unit.work)
