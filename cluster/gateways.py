"""Ray actors that drive devices: one for each device, or one for several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from cluster.places import Places
from tracker.address import Address
from tracker.device import DeviceKey
from workers.tasks import DeviceActor, GatewayActor


class Drivers(Protocol):
    """Hands out what drives a device: what ``DeviceDriver`` does, called as Ray's methods."""

    def hire(self, key: DeviceKey) -> Any:
        """The driver of a device that has none."""

    def dismiss(self, key: DeviceKey, driver: Any) -> None:
        """End what it is doing, and with it the driver."""


def drivers(tracker: Address, session_timeout_s: float, devices_per_actor: int) -> Drivers:
    """One actor for each device, or gateways with several."""
    if devices_per_actor == 1:
        return Single(tracker, session_timeout_s)
    return Gateways(tracker, session_timeout_s, devices_per_actor)


@dataclass(slots=True)
class Single:
    """An actor a device: whatever it does is over when its process is killed."""

    tracker: Address
    session_timeout_s: float
    _places: Places = field(default_factory=Places)

    def hire(self, key: DeviceKey) -> Any:
        """Actors are spread over the cluster's nodes."""
        return self._places.start(DeviceActor, self.tracker, key, self.session_timeout_s)

    def dismiss(self, _: DeviceKey, driver: Any) -> None:
        """Kills the actor."""
        self._places.end(driver)


@dataclass(frozen=True, slots=True)
class Method:
    """Stands for an actor's method."""

    remote: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Seat:
    """One device's place in a gateway: to be used like an actor of its own."""

    gateway: Any
    describe: Method
    fingerprint: Method
    measure: Method
    run: Method
    profile: Method


@dataclass(slots=True)
class Gateways:
    """As many gateways as the devices need, each with so many seats."""

    tracker: Address
    session_timeout_s: float
    seats: int
    _taken: dict[Any, int] = field(default_factory=dict)
    _places: Places = field(default_factory=Places)

    def hire(self, key: DeviceKey) -> Seat:
        """A seat in the first gateway that has one."""
        gateway = next((each for each, taken in self._taken.items() if taken < self.seats), None)
        if gateway is None:
            # One thread more: somebody can be dismissed while all devices are at work.
            gateway = self._places.start(
                GatewayActor, self.tracker, self.session_timeout_s, max_concurrency=self.seats + 1
            )
        self._taken[gateway] = self._taken.get(gateway, 0) + 1
        names = ("describe", "fingerprint", "measure", "run", "profile")
        return Seat(gateway, *(Method(partial(getattr(gateway, name).remote, key)) for name in names))

    def dismiss(self, key: DeviceKey, driver: Seat) -> None:
        """Kills the device's session; the gateway ends with its last device."""
        self._taken[driver.gateway] -= 1
        if self._taken[driver.gateway]:
            driver.gateway.dismiss.remote(key)
        else:
            del self._taken[driver.gateway]
            self._places.end(driver.gateway)
