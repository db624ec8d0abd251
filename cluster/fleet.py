"""The devices of a run as the tracker shows them: who is there, who has gone. Never blocks for long."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.errors import TrackerError
from tracker.inventory import registered

POLLS_UNTIL_LOST = 3


class Fleet:
    """Watches the tracker for devices of the classes that a run has bounds for."""

    def __init__(self, tracker: Address, classes: Collection[str]) -> None:
        self.tracker = tracker
        self.classes = frozenset(classes)
        self._missed: dict[DeviceKey, int] = {}
        self._banned: set[DeviceKey] = set()

    def present(self) -> frozenset[DeviceKey]:
        """Devices of our classes that are registered now; raises ``TrackerError`` without a tracker."""
        keys = (each.device for each in registered(self.tracker))
        return frozenset(
            key
            for key in keys
            if key is not None and key.device_class in self.classes and key not in self._banned
        )

    def changes(self) -> tuple[frozenset[DeviceKey], frozenset[DeviceKey]]:
        """Devices that have come and that have gone since the last call.

        A device is gone when it was missing three times in a row: trackers restart, agents register again.
        """
        present = self._seen()
        joined = present - self._missed.keys()
        for key in self._missed:
            self._missed[key] = 0 if key in present else self._missed[key] + 1
        self._missed.update(dict.fromkeys(joined, 0))
        lost = frozenset(key for key, missed in self._missed.items() if missed >= POLLS_UNTIL_LOST)
        for key in lost:
            del self._missed[key]
        return joined, lost

    def _seen(self) -> frozenset[DeviceKey]:
        """Like ``present``, but nobody while the tracker is away."""
        try:
            return self.present()
        except TrackerError:
            return frozenset()

    def forget(self, key: DeviceKey) -> None:
        """Let a device that is still registered join again at the next call of ``changes``."""
        self._missed.pop(key, None)

    def ban(self, key: DeviceKey) -> None:
        """Have nothing to do with a device for the rest of the run."""
        self._banned.add(key)
        self.forget(key)


def timing_cores(description: Description) -> frozenset[str]:
    """Names of the cores on which a device times, different on every host."""
    return frozenset(f"{description.host}/{core}" for core in description.timing_cores)


def this_host() -> str:
    """How a description names the machine that this process runs on."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
