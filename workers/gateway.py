"""Many devices driven from one process, where a process each would be too much.

Becomes an actor in ``workers.tasks``. Each piece of work has a thread of its own, each session a child
process of its own that can be killed: a device that hangs holds up no other.
"""

from __future__ import annotations

from typing import Any

from cost_model.device_event import DeviceEvent
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.failure import Failure, SessionFailed
from tracker.session import Session
from workers.device import BatchResult, DeviceDriver, ProfileResult, RunResult


class DismissableDriver(DeviceDriver):
    """A driver whose session another thread can end."""

    _latest: Session | None = None
    _dismissed = False

    def dismiss(self) -> None:
        """Kill the session under way and begin no other: what it was doing ends with a failure."""
        self._dismissed = True
        if self._latest is not None:
            self._latest.interrupt()

    def _session(self, payload_bytes: int = 0) -> Session:
        self._latest = super()._session(payload_bytes)
        if self._dismissed:
            self._latest.close()
            raise SessionFailed(Failure("skipped", "it was dismissed", str(self.key), "open"))
        return self._latest


class Gateway:
    """Does for any device of a fleet what ``DeviceDriver`` does for one; for different ones at once."""

    def __init__(self, tracker: Address, session_timeout_s: float) -> None:
        self._tracker = tracker
        self._session_timeout_s = session_timeout_s
        self._drivers: dict[DeviceKey, DismissableDriver] = {}

    def describe(self, key: DeviceKey) -> Description | Failure:
        """As ``DeviceDriver.describe``."""
        return self._driver(key).describe()

    def fingerprint(self, key: DeviceKey, *work: Any) -> DeviceEvent | Failure:
        """As ``DeviceDriver.fingerprint``."""
        return self._driver(key).fingerprint(*work)

    def measure(self, key: DeviceKey, *work: Any) -> BatchResult:
        """As ``DeviceDriver.measure``."""
        return self._driver(key).measure(*work)

    def run(self, key: DeviceKey, *work: Any) -> RunResult | Failure:
        """As ``DeviceDriver.run``."""
        return self._driver(key).run(*work)

    def profile(self, key: DeviceKey, *work: Any) -> ProfileResult | Failure:
        """As ``DeviceDriver.profile``."""
        return self._driver(key).profile(*work)

    def dismiss(self, key: DeviceKey) -> None:
        """End what a device is doing; it may be given work again."""
        if driver := self._drivers.pop(key, None):
            driver.dismiss()

    def _driver(self, key: DeviceKey) -> DismissableDriver:
        return self._drivers.setdefault(key, DismissableDriver(self._tracker, key, self._session_timeout_s))
