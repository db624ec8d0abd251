"""What happened to one device, and when: the story that a quarantine or a changed clock is told from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from cost_model.errors import CostModelError

KINDS = ("joined", "lost", "quarantined", "released", "fault", "fingerprint", "drift")


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """One thing that happened to one device; a device may have any number of each kind."""

    device: str
    """``CLASS.UNIT``."""
    kind: str
    """One of ``KINDS``."""
    reason: str
    """For people: why, in one line; may be empty where the kind says it all."""
    at_s: float
    """Seconds since 1970, by the clock of the machine that wrote it down."""
    facts: Mapping[str, float | str] = field(default_factory=dict)
    """Figures and names that belong to it, with units in their names."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CostModelError(f"{self.device}: {self.kind!r} is no kind of event; use {', '.join(KINDS)}")
        if not isfinite(self.at_s):
            raise CostModelError(f"{self.device}: {self.at_s} is no time; give seconds since 1970")
