"""Which devices a tracker knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tracker.address import Address
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.transport import NotAdmittedError
from tracker.wire import SUCCESS, SUMMARY, TrackerConnection, WireError


@dataclass(frozen=True, slots=True)
class Registration:
    """One server that is registered with a tracker."""

    key: str
    """As the tracker has it; a foreign server's key need not be ``CLASS.UNIT``."""
    address: Address
    state: Literal["free", "busy"]

    @property
    def device(self) -> DeviceKey | None:
        """The device, or None for a foreign key."""
        try:
            return DeviceKey.parse(self.key)
        except TrackerError:
            return None


def registered(address: Address, timeout_s: float = 3.0) -> tuple[Registration, ...]:
    """Every server registered with the tracker, sorted by key and address.

    Raises TrackerError when no TVM tracker answers there within ``timeout_s`` a step.
    """
    try:
        with TrackerConnection(address, timeout_s) as connection:
            status, summary = connection.call(SUMMARY)
        if status != SUCCESS:
            raise WireError(f"status {status}")
        return tuple(_registrations(address, summary))
    except NotAdmittedError as error:
        raise TrackerError(str(error)) from error
    except (OSError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise TrackerError(
            f"no TVM tracker answers at {address} ({error}); `blinknet tracker` starts one"
        ) from error


def _registrations(tracker: Address, summary: dict[str, Any]) -> Iterator[Registration]:
    free = Counter({key: queue["free"] for key, queue in summary["queue_info"].items()})
    servers = [(info["key"].removeprefix("server:"), tuple(info["addr"])) for info in summary["server_info"]]
    for key, (host, port) in sorted(servers):
        yield Registration(key, tracker.beside(host, port, key), "free" if free[key] > 0 else "busy")
        free[key] -= 1
