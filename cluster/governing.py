"""One configuration for all units of a class: who searches for it, and who only runs it. Pure.

The slowest unit governs: the search happens there alone. What it finds, every other unit runs for a
certificate of its own. Where that breaks the bounds on a unit, this one takes over and the search goes on
there; each unit does so at most once, so that it comes to an end. A search that was taken over and finds
nothing that holds leaves the others with what they had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cluster.events import Decide, Rank
from cluster.needs import Finished
from cluster.units import ClassWork, Unit


@dataclass(slots=True, eq=False)
class Governing:
    """How far the units of one class are with their configuration."""

    work: ClassWork
    unit: Unit | None = None
    """Who searches."""
    final: Finished | None = None
    """What it has found."""
    before: Finished | None = None
    """What was final before it took over."""
    governed: set[str] = field(default_factory=set)
    """Units whose search came to an end."""

    def commands(self) -> Iterator[Decide | Rank]:
        """What to ask now that nothing of the class is left to measure."""
        undecided = self.work.undecided
        if self.final is not None:
            yield from (Decide(each.device, self.final) for each in in_order(undecided))
        elif self.unit is not None:
            if self.unit.order in undecided:
                yield Decide(self.unit.device)
        elif not self.work.unfactored:
            yield from self._elect([each for each in in_order(undecided) if each.online])

    def rank(self, units: list[Unit]) -> None:
        """The first of these that is still there governs, where nobody does."""
        if self.unit is not None or self.final is not None:
            return
        present = (each for each in units if each.online and each.waiting_for == "measurements")
        self.unit = next(present, None)

    def finish(self, unit: Unit, found: Finished) -> None:
        """A unit has its configuration; where it governs, it is everybody's."""
        unit.conclude(found)
        if unit is not self.unit or self.final is not None:
            return
        self.governed.add(unit.device)
        kept, self.before = self.before, None
        if kept is not None and found.verdict != "holds":
            self.final = kept
            return
        self.final = found
        for each in self.work.units:
            if isinstance(each.outcome, Finished) and each.outcome.selection != found.selection:
                each.reopen()

    def take_over(self, unit: Unit) -> None:
        """The configuration breaks the bounds on this unit."""
        if self.final is not None and unit.device in self.governed:
            unit.conclude(Finished("unverified", self.final.selection))
            return
        unit.wait_for("measurements")
        if self.final is not None:
            self.unit, self.before, self.final = unit, self.final, None

    def leave(self, unit: Unit) -> None:
        """A unit is gone, or cannot run what it is given: somebody else has to govern."""
        if unit is self.unit and self.final is None:
            self.unit, self.final, self.before = None, self.before, None

    def _elect(self, candidates: list[Unit]) -> Iterator[Decide | Rank]:
        if len(candidates) > 1:
            yield Rank(self.work.name, tuple(each.device for each in candidates))
        elif candidates:
            self.unit = candidates[0]
            yield Decide(self.unit.device)


def in_order(units: dict[int, Unit]) -> list[Unit]:
    """Who joined first comes first."""
    return [unit for _, unit in sorted(units.items())]
