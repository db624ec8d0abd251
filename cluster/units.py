"""What the coordinator knows of a device class's work and of each unit. Mutable, pure, and quick to ask.

Every number that an event needs (how many units are online, how much is outstanding) is kept up to date by
what changes it: nothing here looks through all units or all requests.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Literal

from cluster.events import Batch, Measure, Profile, RunConfiguration
from cluster.needs import Decision, Finished, NeedProfile, NeedRun

BATCHES_AHEAD = 2
"""Of a class with one unit; each further unit that is online adds one."""
STORY = 32
"""Events of a unit that an error tells."""

Waiting = Literal["measurements", "decision", "joint evaluation", "run", "nothing"]


@dataclass(slots=True, eq=False)
class ClassWork:
    """Work of one device class. A request that is ``wanted`` is queued, building, ready or on a device."""

    name: str
    queue: deque[str]
    wanted: set[str]
    common: tuple[str, ...] = ()
    """Requests that every unit measures, for its speed factor."""
    library: Batch | None = None
    """Where they are built: the library of the common requests."""
    building: dict[int, Batch] = field(default_factory=dict)
    ready: deque[Batch] = field(default_factory=deque)
    suspects: list[tuple[str, Batch]] = field(default_factory=list)
    """Unit on which a request ended a session, and that request's batch: another unit is to try it."""
    crashes: Counter[str] = field(default_factory=Counter)
    settled: int = 0
    abandoned: str | None = None
    units: list[Unit] = field(default_factory=list)
    """In the order in which they joined."""
    online: int = 0
    undone: int = 0
    """Units without an outcome..."""
    attended: int = 0
    """... and those of them that are online."""
    unfactored: int = 0
    """Units online and without an outcome that have not measured all common requests."""
    undecided: dict[int, Unit] = field(default_factory=dict)
    """Units whose next decision waits for measurements, not for their own ones."""
    newcomers: dict[int, Unit] = field(default_factory=dict)
    """Units that wait for the library of the common requests."""
    _idle: list[tuple[int, Unit]] = field(default_factory=list)
    _forgone: set[str] = field(default_factory=set)
    """Requests that are being compiled although nobody wants them any more."""

    @property
    def done(self) -> bool:
        """Whether nobody waits for anything more of this class."""
        return self.abandoned is not None or bool(self.units and not self.undone)

    @property
    def dryness(self) -> float | None:
        """Libraries in stock for each unit: the least is built first. ``None``: nothing is to be built."""
        if self.abandoned is not None:
            return None
        if self.library is None and self._needs_library:
            return -1.0
        stock, units = len(self.ready) + len(self.building), self.online or 1
        if not self.queue or stock >= BATCHES_AHEAD - 1 + units:
            return None
        return stock / units

    def next_batch(self, number: int, most: int) -> Batch:
        """The next library: that of the common requests first, it is kept for units that come later."""
        common = self.library is None and self._needs_library
        requests = self.common if common else self._next_requests(most)
        self.building[number] = batch = Batch(number, self.name, requests, common)
        return batch

    def _next_requests(self, most: int) -> tuple[str, ...]:
        """Those of the next library: at the end small ones, so that all units come to an end together.

        One unit takes as many as there are. Of several, each leaves twice as much to every other one
        (factoring: Hummel, Schonberg and Flynn, 1992): the slow ones then do not keep all others waiting.
        """
        others = 2 * (max(1, self.online) - 1)
        size = min(most, -(-len(self.queue) // (1 + others)))
        take = self.queue.popleft
        return tuple([take() for _ in range(size)])

    def built(self, batch: Batch, failed: tuple[str, ...]) -> None:
        """A library is ready, but for what failed in it."""
        for request in failed:
            self.drop(request)
        without = self._forgone.union(failed)
        rest = tuple(each for each in batch.requests if each not in without) if without else batch.requests
        self._forgone.difference_update(batch.requests)
        if batch.common:
            self.library = Batch(batch.number, batch.device_class, rest, common=True)
        elif rest:
            self.ready.append(Batch(batch.number, batch.device_class, rest))

    def want(self, requests: tuple[str, ...]) -> None:
        """Queue what is not wanted already."""
        new = [each for each in requests if each not in self.wanted]
        self.wanted.update(new)
        self.queue.extend(new)

    def forgo(self) -> None:
        """Want nothing any more that no device has begun, but for what is common."""
        building = (each for each in self.building.values() if not each.common)
        built = (*self.ready, *(batch for _, batch in self.suspects))
        self._forgone = {each for batch in building for each in batch.requests}
        self.wanted -= self._forgone.union(self.queue, *(batch.requests for batch in built))
        self.queue.clear()
        self.ready.clear()
        self.suspects.clear()

    def settle(self, requests: tuple[str, ...]) -> None:
        """There is nothing left to measure of these."""
        outstanding = len(self.wanted)
        self.wanted.difference_update(requests)
        self.settled += outstanding - len(self.wanted)

    def drop(self, request: str) -> None:
        """It gives no latency on this class."""
        self.settle((request,))
        if request in self.common:
            self.common = tuple(each for each in self.common if each != request)
            for unit in self.units:
                unit.measured_itself((request,))

    def put_back(self, batch: Batch, unit: Unit, culprit: str | None = None) -> None:
        """What is left of the unit's batch is measured next; of the common requests each unit keeps its own.

        A culprit is left to another unit: two sessions on one device may have died of the device.
        """
        if batch.common:
            return
        left = tuple(each for each in batch.requests if each in self.wanted)
        if culprit in left:
            self.suspects.append((unit.device, Batch(batch.number, self.name, (culprit,))))
        if rest := tuple(each for each in left if each != culprit):
            self.ready.appendleft(Batch(batch.number, self.name, rest))

    def has_batch(self, unit: Unit) -> bool:
        """Whether there is something that the unit may measure for its class."""
        return bool(self.ready) or any(self._may_try(unit, each) for each, _ in self.suspects)

    def next_for(self, unit: Unit) -> Batch:
        """That, suspects first."""
        for place, (crashed_on, batch) in enumerate(self.suspects):
            if self._may_try(unit, crashed_on):
                del self.suspects[place]
                return batch
        return self.ready.popleft()

    def _may_try(self, unit: Unit, crashed_on: str) -> bool:
        """Again on the same unit only where there is no other."""
        return unit.device != crashed_on or self.online <= 1

    def rest(self, unit: Unit) -> None:
        """The unit has nothing to do until something is ready."""
        if unit.own:
            self.newcomers[unit.order] = unit
        elif not unit.idle:
            unit.idle = True
            heappush(self._idle, (unit.order, unit))

    def rouse(self) -> Unit | None:
        """The first unit for which there is something now; it is idle no longer."""
        if self.library and self.newcomers:
            return self.newcomers.pop(next(iter(self.newcomers)))
        passed_over: list[Unit] = []
        found = None
        while found is None and self._idle and (self.ready or self.suspects):
            _, unit = heappop(self._idle)
            if unit.idle and self.has_batch(unit):
                unit.idle, found = False, unit
            elif unit.idle:
                passed_over.append(unit)
        for unit in passed_over:
            heappush(self._idle, (unit.order, unit))
        return found

    @property
    def _needs_library(self) -> bool:
        if not self.unfactored or not self.common:
            return False
        return not any(each.common for each in self.building.values())


@dataclass(slots=True, eq=False)
class Unit:
    """One device: what it does now and how far it is."""

    device: str
    order: int
    """Of joining: who joined first goes first."""
    work: ClassWork
    cores: frozenset[str]
    own: set[str]
    """Common requests that it has not measured yet; until then it measures nothing else."""
    online: bool = False
    idle: bool = False
    """Whether its class will rouse it."""
    parked: str | None = None
    """The core that it waits for."""
    occupied: frozenset[str] = frozenset()
    """Cores that it times on now."""
    batch: Batch | None = None
    running: bool = False
    waiting_for: Waiting = "nothing"
    decision: Decision | None = None
    failed_runs: int = 0
    outcome: Finished | str | None = None
    story: deque[str] = field(default_factory=lambda: deque(maxlen=STORY))

    def __post_init__(self) -> None:
        self.work.units.append(self)
        self.work.undone += 1
        self.wait_for("measurements")

    @property
    def busy(self) -> bool:
        """Whether it is being timed."""
        return self.batch is not None or self.running

    @property
    def has_work(self) -> bool:
        """Whether there is something to time on it."""
        if self.waiting_for == "run":
            return True
        return self.work.library is not None if self.own else self.work.has_batch(self)

    def start(self) -> Measure | RunConfiguration | Profile:
        """Take the next piece of timed work: a run first, it ends the device's job."""
        self.idle, self.parked = False, None
        if self.waiting_for == "run" and isinstance(self.decision, NeedRun):
            self.running = True
            return RunConfiguration(self.device, self.decision.selection)
        if self.waiting_for == "run" and isinstance(self.decision, NeedProfile):
            self.running = True
            return Profile(self.device, self.decision.selections)
        self.batch = self._own_batch(self.work.library) if self.own else self.work.next_for(self)
        return Measure(self.device, self.batch)

    def measured_itself(self, requests: tuple[str, ...]) -> None:
        """What it need not measure for its own factor any more."""
        if self.own:
            before = self._unfactored
            self.own.difference_update(requests)
            self.work.unfactored += self._unfactored - before
            self.wait_for(self.waiting_for)

    def wait_for(self, waiting_for: Waiting) -> None:
        """What has to come before it can go on."""
        if self.waiting_for == "measurements":
            self.work.undecided.pop(self.order, None)
        self.waiting_for = waiting_for
        if waiting_for == "measurements" and not self.own:
            self.work.undecided[self.order] = self

    def go_online(self, online: bool) -> None:
        """It came, or it went."""
        change, before = int(online) - int(self.online), self._unfactored
        self.online = online
        self.work.online += change
        self.work.unfactored += self._unfactored - before
        if self.outcome is None:
            self.work.attended += change

    def conclude(self, outcome: Finished | str) -> None:
        """It has its configuration, or the reason why it gets none."""
        if self.outcome is None:
            self.work.undone -= 1
            self.work.attended -= int(self.online)
        self.measured_itself(self.work.common)
        self.outcome = outcome
        self.wait_for("nothing")

    def reopen(self) -> None:
        """Its outcome counts no longer."""
        self.outcome = None
        self.work.undone += 1
        self.work.attended += int(self.online)
        self.wait_for("measurements")

    @property
    def _unfactored(self) -> bool:
        return self.online and self.outcome is None and bool(self.own)

    def _own_batch(self, library: Batch | None) -> Batch:
        if library is None:
            raise AssertionError(f"{self.device} has work that is not built; its story: {list(self.story)}")
        requests = tuple(each for each in library.requests if each in self.own)
        return Batch(library.number, library.device_class, requests, common=True)

    @property
    def stage(self) -> str:
        """What it does, in a word or two."""
        if self.outcome is not None:
            return "done" if isinstance(self.outcome, Finished) else "failed"
        if not self.online:
            return "lost"
        if self.running:
            return "profiling" if isinstance(self.decision, NeedProfile) else "verifying"
        if self.batch is not None:
            return "measuring"
        return {"measurements": "waiting", "decision": "choosing"}.get(self.waiting_for, self.waiting_for)


def class_work(name: str, wanted: Iterable[str], common: Iterable[str]) -> ClassWork:
    """The class before anything has happened; what is common goes into a library of its own."""
    every = tuple(common)
    keys = list(wanted)
    return ClassWork(name, deque(each for each in keys if each not in every), set(keys), every)
