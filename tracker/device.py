"""A device's name and what it says about itself. Pure: text in, facts out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from tracker.errors import TrackerError

_KEY = re.compile(r"[A-Za-z0-9_+-]+\.[A-Za-z0-9_+.-]+")

Agent = Literal["blinknet", "stock"]


@dataclass(frozen=True, slots=True, order=True)
class DeviceKey:
    """The name under which one physical unit is registered: ``CLASS.UNIT``."""

    device_class: str
    unit: str

    def __str__(self) -> str:
        return f"{self.device_class}.{self.unit}"

    @classmethod
    def parse(cls, text: str) -> DeviceKey:
        """Reads ``CLASS.UNIT``; raises TrackerError for anything else."""
        if not _KEY.fullmatch(text):
            raise TrackerError(f"device key {text!r} {_complaint(text)}; write CLASS.UNIT, like rpi4.unit-02")
        device_class, _, unit = text.partition(".")
        return cls(device_class, unit)


def _complaint(text: str) -> str:
    if ":" in text:
        return "has a colon, which breaks the tracker's counting for every device"
    if any(character.isspace() for character in text):
        return "has a blank"
    if "." not in text:
        return "has no dot between class and unit"
    return "is more than letters, digits and _ + - around a dot"


@dataclass(frozen=True, slots=True)
class Description:
    """What a device's server says about its machine."""

    architecture: str
    """As ``uname -m`` names it: x86_64, aarch64, armv7l, riscv64."""
    cpu: str
    """The processor's model name."""
    features: tuple[str, ...]
    """As Linux names them in /proc/cpuinfo, without those that the agent hides."""
    cores: int
    memory_bytes: int
    clock_hz: float | None
    """Of the first timing core, now."""
    temperature_c: float | None
    host: str
    """The running kernel's boot id: devices with the same one share cores and memory."""
    timing_cores: tuple[int, ...]
    """Cores on which sessions run."""
    pid: int
    """Of the session's process on the device."""
    agent: Agent
    emulated: bool = False
    """Whether an emulator runs it: its times say nothing about a real board."""

    def to_json(self) -> str:
        """One object with the fields by name."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Description:
        """Reads what ``to_json`` wrote; raises TrackerError when a field is missing or of another type."""
        try:
            data = json.loads(text)
            values = {field.name: data[field.name] for field in fields(cls)}
            values |= {name: tuple(values[name]) for name in ("features", "timing_cores")}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TrackerError(f"the device's description cannot be read ({error!r}); {_UPDATE}") from error
        wrong = [name for name, value in values.items() if not _VALID[name](value)]
        if wrong:
            raise TrackerError(f"the device's description has a wrong {', '.join(wrong)}; {_UPDATE}")
        return cls(**values)


_LONGEST_TEXT = 1000
_UPDATE = "install the same BlinkNet on the device and start `blinknet device` again"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number_or_none(value: Any) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )


_VALID: dict[str, Callable[[Any], bool]] = {
    "architecture": _is_text,
    "cpu": _is_text,
    "features": lambda value: all(map(_is_text, value)),
    "cores": lambda value: _is_count(value) and value > 0,
    "memory_bytes": _is_count,
    "clock_hz": _is_number_or_none,
    "temperature_c": _is_number_or_none,
    "host": _is_text,
    "timing_cores": lambda value: len(value) > 0 and all(map(_is_count, value)),
    "pid": _is_count,
    "agent": lambda value: value in ("blinknet", "stock"),
    "emulated": lambda value: isinstance(value, bool),
}
