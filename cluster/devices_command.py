"""``blinknet devices``: who is there, what each is, how it fares."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.live import Live

from cluster.cli import DEFAULT_TRACKER
from cluster.devices import DeviceRow, device_rows, without_fingerprint
from cluster.devices_survey import describe_all, measure_fingerprints
from cluster.devices_text import device_json, device_line, device_table
from cluster.outputs import find, read_run
from cluster.settings import cluster_settings
from cluster.settings_fields import EMBEDDED
from cost_model.device_event import DeviceEvent
from cost_model.errors import StoreError
from cost_model.store import Store
from tracker.address import Address
from tracker.device import Description
from tracker.errors import TrackerError
from tracker.failure import Failure
from tracker.inventory import Registration, registered

WATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from."""

    tracker: Address
    store: Path | None
    """``None`` where there is none, or none yet."""


@dataclass(slots=True)
class Watcher:
    """Looks again and again; a device is asked what it is once, whenever it has come."""

    source: Source
    probe: bool = False
    seen: dict[str, float] = field(default_factory=dict)
    said: dict[str, Description | Failure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _asked: set[str] = field(default_factory=set)
    """Devices that have been asked since they came."""
    _own: list[DeviceEvent] = field(default_factory=list)
    """Fingerprints that could not be kept."""
    _last: tuple[Registration, ...] = ()

    def look(self) -> tuple[DeviceRow, ...]:
        """The fleet now; raises TrackerError where no tracker answers."""
        self.notes.clear()
        self._last = registered(self.source.tracker)
        self._asked &= {each.key for each in self._last}
        free = {each.key for each in self._last if each.state == "free" and each.device}
        if new := sorted(free - self._asked):
            self.said |= describe_all(self.source.tracker, new)
            self._asked |= {key for key in new if not _in_use(self.said[key])}
        if self.probe and (wanted := without_fingerprint(self.rows())):
            self._measure(wanted)
        self.seen.update(dict.fromkeys((each.key for each in self._last), time.time()))
        return self.rows()

    def rows(self) -> tuple[DeviceRow, ...]:
        """What was seen at last, with the events that the store has now."""
        events = [*read_events(self.source.store), *self._own]
        return device_rows(self._last, self.said, events, self.seen)

    def _measure(self, devices: Sequence[str]) -> None:
        described = {key: said for key in devices if isinstance(said := self.said[key], Description)}
        events = []
        for device, outcome in measure_fingerprints(self.source.tracker, described).items():
            if isinstance(outcome, Failure):
                self.said[device] = outcome
            else:
                events.append(outcome)
        self._own += self._unkept(events)

    def _unkept(self, events: Sequence[DeviceEvent]) -> Sequence[DeviceEvent]:
        """Those that no store takes; it may be a run's that is under way."""
        if self.source.store is None:
            return events
        try:
            with Store(self.source.store) as store:
                store.append_device_events(events)
        except StoreError as error:
            self.notes.append(f"fingerprints are shown but not kept: {error}")
            return events
        return ()


def _in_use(answer: Description | Failure) -> bool:
    """Others had the device when it was asked: the next look asks again."""
    return isinstance(answer, Failure) and answer.kind == "busy"


@dataclass(frozen=True, slots=True)
class Show:
    """How rows are shown."""

    watch: bool = False
    json: bool = False
    probe: bool = False
    """Whether to measure the fingerprints that are missing."""


def devices(tracker: str | None, store: Path | None, run: Path | None, console: Console, show: Show) -> int:
    """Print the fleet once, or for as long as one watches.

    Raises errors of our packages where no tracker answers, and for a store or run that does not exist.
    """
    watcher = Watcher(find_source(tracker, store, run), show.probe)
    rows = watcher.look()
    with suppress(KeyboardInterrupt):
        if not show.watch:
            _print_once(rows, watcher, console, show.json)
        elif console.is_terminal and not show.json:
            _draw(rows, watcher, console)
        else:
            _print_changes(rows, watcher, console, show.json)
    return 0


def _print_once(rows: Sequence[DeviceRow], watcher: Watcher, console: Console, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(device_json(row))
        return
    if rows:
        console.print(device_table(rows, time.time()))
    else:
        tracker = watcher.source.tracker
        hint = f"no device; `blinknet device --tracker {tracker} --key CLASS.UNIT` registers one"
        console.print(hint, markup=False, soft_wrap=True)
    for note in watcher.notes:
        console.print(note, markup=False, soft_wrap=True)


def _draw(rows: Sequence[DeviceRow], watcher: Watcher, console: Console) -> None:
    with Live(device_table(rows, time.time()), console=console, auto_refresh=False) as live:
        for latest in _looks(watcher):
            live.update(device_table(latest, time.time(), watcher.notes), refresh=True)


def _print_changes(rows: Sequence[DeviceRow], watcher: Watcher, console: Console, as_json: bool) -> None:
    """A line for each device at first, then one whenever there is something new to say of it."""
    shown: dict[str, DeviceRow] = {}
    for latest in chain([rows], _looks(watcher)):
        for row in latest:
            said = replace(row, seen_s=None)
            if shown.get(row.device) != said:
                shown[row.device] = said
                line = device_json(row) if as_json else device_line(row, time.time())
                console.print(line, markup=False, highlight=False, soft_wrap=True)


def _looks(watcher: Watcher) -> Iterator[tuple[DeviceRow, ...]]:
    """For ever; while no tracker answers, what was seen before."""
    while True:
        time.sleep(WATCH_S)
        try:
            yield watcher.look()
        except TrackerError as error:
            watcher.notes.append(str(error))
            yield watcher.rows()


def find_source(tracker: str | None, store: Path | None, run: Path | None) -> Source:
    """As stated, else as the run has it, else as ``ray_config.yaml`` does; raises errors of our packages."""
    settings = cluster_settings()
    record = read_run(find(run)) if run else None
    address = tracker or (record.tracker if record and record.tracker != EMBEDDED else None)
    known = Address.parse(address) if address else settings.tracker
    path = store or (Path(record.store) if record else None)
    if path is not None:
        Store(path, readonly=True).close()  # One that was named has to be there.
    elif settings.store is not None and settings.store.is_file():
        path = settings.store
    place = Address.parse(DEFAULT_TRACKER) if known == EMBEDDED else known
    return Source(replace(place, access=settings.access), path)


def read_events(path: Path | None) -> tuple[DeviceEvent, ...]:
    """Everything that happened to devices, as far as the store knows; raises StoreError."""
    if path is None:
        return ()
    with Store(path, readonly=True) as store:
        return store.device_events()
