"""The devices of a fleet as a person wants to see them: one row each, from everything that is known. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from cost_model.device_event import DeviceEvent
from cost_model.fingerprint import Fingerprint, fingerprint_of, known_fingerprint
from tracker.device import Description, DeviceKey
from tracker.errors import TrackerError
from tracker.failure import Failure
from tracker.inventory import Registration

PRESENT = ("joined", "released", "fingerprint", "drift")
"""Kinds of events that only a device that is there takes part in."""
State = Literal["free", "busy", "lost", "quarantined", "ignored"]
Said = Mapping[str, Description | Failure]
"""By key, what devices answered when they were asked what they are."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device; what is not known is ``None`` or empty."""

    device: str
    """Its key, also where it is not ``CLASS.UNIT``."""
    device_class: str
    unit: str
    state: State
    reason: str
    """Why it is lost, quarantined or ignored."""
    seen_s: float | None
    """Seconds since 1970 when it was last there; ``None``: never, as far as is known."""
    architecture: str = ""
    cpu: str = ""
    features: tuple[str, ...] = ()
    cores: int | None = None
    timing_cores: tuple[int, ...] = ()
    memory_bytes: int | None = None
    clock_hz: float | None = None
    temperature_c: float | None = None
    agent: str = ""
    emulated: bool = False
    fingerprint: Fingerprint | None = None
    events: Mapping[str, int] = field(default_factory=dict)
    """Kind to how many of them the store has."""
    problem: str = ""
    """Why it did not say what it is."""


def device_rows(
    registrations: Sequence[Registration],
    said: Said,
    events: Iterable[DeviceEvent],
    seen: Mapping[str, float],
) -> tuple[DeviceRow, ...]:
    """Every device that is registered, was seen, or has a story, in the order of the keys.

    ``seen`` is when each device that is or was registered was last seen to be.
    """
    stories: dict[str, list[DeviceEvent]] = defaultdict(list)
    for event in events:
        if any(_parts(event.device)):  # The tracker has a story as well.
            stories[event.device].append(event)
    present = {each.key: each.state for each in sorted(registrations, key=lambda each: each.state == "free")}
    return tuple(
        _row(key, present.get(key), said.get(key), stories.get(key, []), seen.get(key))
        for key in sorted(present.keys() | seen.keys() | stories.keys())
    )


def without_fingerprint(rows: Iterable[DeviceRow]) -> tuple[str, ...]:
    """Devices that are free, say what they are, and were never measured as what they are."""
    return tuple(
        each.device
        for each in rows
        if each.state == "free" and each.architecture and not each.problem and each.fingerprint is None
    )


def _row(
    key: str,
    registered: Literal["free", "busy"] | None,
    answer: Description | Failure | None,
    story: Sequence[DeviceEvent],
    seen_s: float | None,
) -> DeviceRow:
    state, reason = _state(key, registered, story)
    row = DeviceRow(key, *_parts(key), state, reason, seen_s or _last_seen_s(story), events=_counts(story))
    if isinstance(answer, Description):
        return _described(row, answer, story)
    problem = "" if answer is None or registered is None else f"{answer.kind}: {answer.message}"
    return replace(_remembered(row, story), problem=problem)


def _parts(key: str) -> tuple[str, str]:
    try:
        device = DeviceKey.parse(key)
    except TrackerError:
        return "", ""
    return device.device_class, device.unit


def _state(
    key: str, registered: Literal["free", "busy"] | None, story: Sequence[DeviceEvent]
) -> tuple[State, str]:
    if not any(_parts(key)):
        return "ignored", "its key is not CLASS.UNIT"
    verdicts = [each for each in story if each.kind in ("quarantined", "released")]
    if verdicts and verdicts[-1].kind == "quarantined":
        return "quarantined", verdicts[-1].reason
    if registered is not None:
        return registered, ""
    losses = [each.reason for each in story if each.kind == "lost"]
    return "lost", losses[-1] if losses else ""


def _last_seen_s(story: Sequence[DeviceEvent]) -> float | None:
    """What is noticed of a device that is gone says nothing of when it was there."""
    return max((each.at_s for each in story if each.kind in PRESENT), default=None)


def _counts(story: Sequence[DeviceEvent]) -> dict[str, int]:
    kinds = [each.kind for each in story]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def _described(row: DeviceRow, said: Description, story: Sequence[DeviceEvent]) -> DeviceRow:
    return replace(
        row,
        architecture=said.architecture,
        cpu=said.cpu,
        features=said.features,
        cores=said.cores,
        timing_cores=said.timing_cores,
        memory_bytes=said.memory_bytes,
        clock_hz=said.clock_hz,
        temperature_c=said.temperature_c,
        agent=said.agent,
        emulated=said.emulated,
        fingerprint=known_fingerprint(story, said),
    )


def _remembered(row: DeviceRow, story: Sequence[DeviceEvent]) -> DeviceRow:
    """What it said of itself when its fingerprint was taken, for a device that cannot be asked now."""
    events = [each for each in story if each.kind == "fingerprint"]
    if not events:
        return row
    facts = events[-1].facts
    return replace(
        row,
        architecture=str(facts["architecture"]),
        cpu=str(facts["cpu"]),
        features=tuple(str(facts["features"]).split()),
        cores=int(facts["cores"]),
        memory_bytes=int(facts["memory_bytes"]),
        agent=str(facts["agent"]),
        emulated=bool(facts.get("emulated", 0.0)),
        fingerprint=fingerprint_of(events[-1]),
    )
