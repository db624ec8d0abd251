"""The devices of a run: who is there, who has gone, who is kept away for a while."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.errors import TrackerError
from tracker.inventory import registered
from tracker.liveness import SILENCES, answers

LOOKS_UNTIL_LOST: Final = 3
"""A tracker that restarts knows nobody at first; agents register again within a second or two."""
ASKED_A_LOOK: Final = 256
"""In a larger fleet devices are asked in turn; those at work are watched by their sessions as well."""
FIRST_QUARANTINE_S: Final = 30.0
LONGEST_QUARANTINE_S: Final = 600.0
UNREGISTERED: Final = "it is no longer registered with the tracker"
SILENT: Final = "it is registered but gives no sign of life: frozen, or its network is cut"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at the fleet showed."""

    places: Mapping[DeviceKey, Address] | None
    """Registered devices of our classes; None while the tracker does not answer."""
    answered: frozenset[DeviceKey] = frozenset()
    silent: frozenset[DeviceKey] = frozenset()
    """Of those that were asked for a sign of life."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new since the last sight."""

    joined: frozenset[DeviceKey] = frozenset()
    lost: Mapping[DeviceKey, str] = field(default_factory=dict)
    """Device to the reason."""


class Fleet:
    """Looks at the devices of the classes that a run has bounds for, and keeps account of them.

    ``look`` takes up to some seconds and changes nothing: it may run in a thread of its own, one at a time.
    Everything else takes no time.
    """

    def __init__(
        self, tracker: Address, classes: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tracker = tracker
        self.classes = frozenset(classes)
        self._clock = clock
        self._missed: dict[DeviceKey, int] = {}
        self._silences: Counter[DeviceKey] = Counter()
        self._heard: set[DeviceKey] = set()
        self._mute: set[DeviceKey] = set()
        self._listened: deque[DeviceKey] = deque()
        self._places: Mapping[DeviceKey, Address] = {}
        self._released_at: dict[DeviceKey, float] = {}
        self._sentences: Counter[DeviceKey] = Counter()
        self._banned: set[DeviceKey] = set()
        self._away_since: float | None = None

    def present(self) -> Mapping[DeviceKey, Address]:
        """Devices of our classes that are registered now; raises ``TrackerError`` without a tracker."""
        found = ((each.device, each.address) for each in registered(self.tracker))
        return {key: place for key, place in found if key is not None and key.device_class in self.classes}

    def look(self) -> Sight:
        """Who is registered, and who of those that we listen to, or have never heard, gives a sign of life.

        A device that freezes as soon as it has joined has then been heard, and is missed.
        """
        try:
            places = self.present()
        except TrackerError:
            places = None
        known = {**self._places, **(places or {})}
        strangers = [key for key in known if key not in self._heard]
        asked = dict.fromkeys([*list(self._listened)[:ASKED_A_LOOK], *strangers[:ASKED_A_LOOK]])
        signs = _ask({key: known[key] for key in asked if key in known})
        answered = frozenset(key for key, sign in signs.items() if sign)
        return Sight(places, answered, frozenset(signs) - answered)

    def changes(self, sight: Sight) -> Changes:
        """Devices that have come and that have gone.

        A device is gone when it was missing or silent several times in a row; while the tracker is away,
        nobody is missing. One that went for its silence comes back with its next sign of life.
        """
        self._listen(sight)
        if sight.places is None:
            self._away_since = self._clock() if self._away_since is None else self._away_since
        else:
            self._away_since = None
            self._places = sight.places
        joined = self._joined(sight.places or {})
        lost = self._lost(sight.places)
        for key in lost:
            del self._missed[key]
        self._missed.update(dict.fromkeys(joined, 0))
        return Changes(joined, lost)

    @property
    def tracker_away_s(self) -> float:
        """For how long the tracker has not answered; 0 while it does."""
        return 0.0 if self._away_since is None else self._clock() - self._away_since

    def listen_to(self, key: DeviceKey) -> None:
        """Ask a device for signs of life from now on: one whose agent answers at any time."""
        if key not in self._listened:
            self._listened.append(key)

    def let_return(self, key: DeviceKey, *, heard: bool = False) -> None:
        """Let a device join again as soon as it is seen; with ``heard`` at its next sign of life.

        Where it was never heard, being registered has to do.
        """
        self._missed.pop(key, None)
        if heard and key in self._heard:
            self._mute.add(key)

    def quarantine(self, key: DeviceKey) -> float:
        """Keep a device away for some time, longer each time; returns the seconds."""
        seconds = min(FIRST_QUARANTINE_S * 2.0 ** self._sentences[key], LONGEST_QUARANTINE_S)
        self._sentences[key] += 1
        self._released_at[key] = self._clock() + seconds
        self.let_return(key)
        return seconds

    def pardon(self, key: DeviceKey) -> bool:
        """Whether a device that has just joined comes from a quarantine; it is told once."""
        return self._released_at.pop(key, None) is not None

    def ban(self, key: DeviceKey) -> None:
        """Have nothing to do with a device for the rest of the run."""
        self._banned.add(key)
        self.let_return(key)

    def _listen(self, sight: Sight) -> None:
        self._listened.rotate(-len((sight.answered | sight.silent).intersection(self._listened)))
        self._heard |= sight.answered
        self._mute -= sight.answered
        for key in sight.answered:
            self._silences[key] = 0
        # A device that was never heard may be out of this process's reach and yet serve its worker.
        self._silences.update(sight.silent & self._heard)

    def _joined(self, places: Iterable[DeviceKey]) -> frozenset[DeviceKey]:
        now = self._clock()
        return frozenset(
            key
            for key in places
            if key not in self._missed
            and key not in self._banned
            and key not in self._mute
            and self._released_at.get(key, now) <= now
        )

    def _lost(self, places: Collection[DeviceKey] | None) -> dict[DeviceKey, str]:
        lost = {}
        for key in self._missed:
            if places is not None:
                self._missed[key] = 0 if key in places else self._missed[key] + 1
            if self._missed[key] >= LOOKS_UNTIL_LOST:
                lost[key] = UNREGISTERED
            elif self._silences[key] >= SILENCES:
                self._mute.add(key)
                lost[key] = SILENT
        return lost


def _ask(places: Mapping[DeviceKey, Address]) -> dict[DeviceKey, bool]:
    """Whether each gives a sign of life; all at once."""
    if not places:
        return {}
    with ThreadPoolExecutor(len(places), "sign-of-life") as pool:
        return dict(zip(places, pool.map(answers, places.values()), strict=True))


def timing_cores(description: Description) -> frozenset[str]:
    """Names of the cores on which a device times, different on every host."""
    return frozenset(f"{description.host}/{core}" for core in description.timing_cores)


def this_host() -> str:
    """How a description names the machine that this process runs on."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
