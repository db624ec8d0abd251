"""What a device can do at most, measured once: the figures that tell two units of a class apart.

A fingerprint is kept as a device event beside the description it was taken with; as long as the device says
the same of itself, nobody measures it again. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite

from cost_model.device_event import DeviceEvent
from cost_model.errors import CostModelError
from tracker.device import Description

VOLATILE = ("clock_hz", "temperature_c", "memory_bytes", "host", "pid")
"""What a device says of itself that a reboot, a moment, or a reserved page changes."""
SAID = ("architecture", "cpu", "cores", "memory_bytes", "agent")
"""What of the description is kept with the figures, so that a device that is away can still be shown."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Rates of one core, and of the memory as one core sees it."""

    float32_gflops: float
    """Billion float32 operations a second of our convolution; a multiply-add is two."""
    int8_gops: float
    """The same of uint8 times int8."""
    bandwidth_gb_s: float
    """Billion bytes a second read and written, in a buffer larger than caches usually are."""
    call_s: float
    """Seconds of a call of a kernel that does next to nothing."""

    def __post_init__(self) -> None:
        if wrong := {name: each for name, each in asdict(self).items() if not (isfinite(each) and each > 0)}:
            raise CostModelError(f"no fingerprint has {wrong}; measure the device again")


def identity(description: Description) -> str:
    """The same for as long as the device says the same of itself, a few hexadecimal digits."""
    said = {name: each for name, each in asdict(description).items() if name not in VOLATILE}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def fingerprint_event(
    device: str, description: Description, fingerprint: Fingerprint, at_s: float
) -> DeviceEvent:
    """What the store keeps of a fingerprint."""
    said = {name: getattr(description, name) for name in SAID}
    said |= {"features": " ".join(description.features), "emulated": float(description.emulated)}
    facts: Mapping[str, float | str] = {
        **asdict(fingerprint),
        **said,
        "description": identity(description),
    }
    return DeviceEvent(device, "fingerprint", "measured on the device", at_s, facts)


def fingerprint_of(event: DeviceEvent) -> Fingerprint | None:
    """What ``fingerprint_event`` was given; ``None`` for another kind of event."""
    if event.kind != "fingerprint":
        return None
    return Fingerprint(**{each.name: float(event.facts[each.name]) for each in fields(Fingerprint)})


def known_fingerprint(events: Iterable[DeviceEvent], description: Description) -> Fingerprint | None:
    """The latest fingerprint of a device that described itself like this, from its events in order."""
    same = identity(description)
    found = [each for each in events if each.facts.get("description") == same]
    return next((got for each in reversed(found) if (got := fingerprint_of(each))), None)
