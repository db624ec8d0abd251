"""A device's standing with its tracker: kept up for ever, whatever happens to the tracker."""

from __future__ import annotations

import random
import sys
import time
from typing import Final

from tracker.address import Address
from tracker.device import DeviceKey
from tracker.wire import PENDING_MATCHKEYS, PUT, SUCCESS, UPDATE_INFO, TrackerConnection, WireError

_TIMEOUT_S: Final = 1.0
_RETRY_S: Final = 0.5
_CHECK_S: Final = 1.0
_UNUSED_CHECKS: Final = 4


class Lease:
    """Offers one device to a tracker, one match key at a time.

    The tracker hands a match key to one client, who greets the device with it. ``tick`` is to be called
    often: it connects, offers, and notices a tracker that is gone or has forgotten us. Nothing here raises.
    """

    def __init__(self, tracker: Address, key: DeviceKey, device: Address, announced_host: str | None) -> None:
        self._tracker = tracker
        self._key = str(key)
        self._device = device
        self._announced_host = announced_host
        self._connection: TrackerConnection | None = None
        self._next_s = 0.0
        self._unused_checks = 0
        self._offered = False
        self._complaint = ""
        self.matchkey = ""

    @property
    def registered(self) -> bool:
        """Whether the tracker knows the device and can hand it out."""
        return self._connection is not None and self._offered

    def tick(self, free: bool) -> None:
        """Does what is due; ``free`` says whether the device may be offered now."""
        due = time.monotonic() >= self._next_s
        if not (due or (free and not self._offered and self._connection)):
            return
        try:
            self._advance(free)
            self._next_s = time.monotonic() + _CHECK_S
            self._complaint = ""
        except OSError as error:
            self._complain(str(error))
            self.close()
            self._next_s = time.monotonic() + _RETRY_S

    def withdraw(self) -> None:
        """The match key is used up: nobody may come with it again."""
        self.matchkey = ""
        self._offered = False

    def close(self) -> None:
        """Leaves the tracker, which forgets the device at once."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self.withdraw()

    def _complain(self, text: str) -> None:
        """Once, not with every attempt."""
        if text != self._complaint:
            self._complaint = text
            message = f"device {self._key} cannot register with {self._tracker} and keeps trying: {text}"
            print(message, file=sys.stderr, flush=True)

    def _advance(self, free: bool) -> None:
        connection = self._connection = self._connection or self._connect()
        if free and not self._offered:
            self._offer(connection)
        elif self.matchkey in _pending(connection):
            self._unused_checks = 0
        elif free:
            self._count_unused(connection)

    def _connect(self) -> TrackerConnection:
        connection = TrackerConnection(self._tracker, _TIMEOUT_S, self._key)
        location = [self._announced_host, self._device.port]
        _tell(connection, UPDATE_INFO, {"key": f"server:{self._key}", "addr": location})
        return connection

    def _offer(self, connection: TrackerConnection) -> None:
        self.matchkey = f"{self._key}:{random.random()}"  # noqa: S311 (a name, no secret: TVM RPC has none)
        _tell(connection, PUT, self._key, [self._device.port, self.matchkey], self._announced_host)
        self._offered = True
        self._unused_checks = 0

    def _count_unused(self, connection: TrackerConnection) -> None:
        """A client took the match key and did not come: after a while, offer another one."""
        self._unused_checks += 1
        if self._unused_checks >= _UNUSED_CHECKS:
            self._offer(connection)


def _pending(connection: TrackerConnection) -> list[str]:
    pending = connection.call(PENDING_MATCHKEYS)
    if not isinstance(pending, list):
        raise WireError("the tracker does not list match keys")
    return pending


def _tell(connection: TrackerConnection, *message: object) -> None:
    if connection.call(*message) != SUCCESS:
        raise WireError("the tracker refuses the device")
