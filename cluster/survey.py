"""What the classes of a run are: a device of each is asked, with patience for those that are away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cluster.errors import ClusterError
from cluster.fleet import Fleet
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.failure import Failure
from tracker.liveness import answers
from workers.device import DeviceDriver

LOOK_AGAIN_S: Final = 0.5


def survey(
    fleet: Fleet,
    session_timeout_s: float,
    patience_s: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Description]:
    """What a device of every class says about itself; boards that reboot are waited for, which is told once.

    Raises ``ClusterError`` for a class of which none answers in time, TrackerError without a tracker.
    """
    found: dict[str, Description] = {}
    until, told = time.monotonic() + patience_s, False
    while True:
        said = _ask(fleet, fleet.classes - found.keys(), session_timeout_s)
        found |= {name: each for name, each in said.items() if isinstance(each, Description)}
        silent = {name: each for name, each in said.items() if isinstance(each, Failure)}
        if not (missing := sorted(fleet.classes - found.keys())):
            return found
        if time.monotonic() >= until:
            raise ClusterError(_complaint(fleet.tracker, missing, silent))
        if not told:
            tell(f"waiting up to {patience_s:.0f} s for a device of class {', '.join(missing)}")
            told = True
        time.sleep(LOOK_AGAIN_S)


def _ask(fleet: Fleet, classes: Iterable[str], session_timeout_s: float) -> dict[str, Description | Failure]:
    """Of each class that has devices: what the first says that answers, or why the last one does not."""
    present = fleet.present()
    units = {name: [key for key in sorted(present) if key.device_class == name] for name in classes}
    with ThreadPoolExecutor(max(1, len(units))) as pool:
        asked = {
            name: pool.submit(_first, fleet.tracker, {key: present[key] for key in keys}, session_timeout_s)
            for name, keys in units.items()
            if keys
        }
        return {name: each.result() for name, each in asked.items()}


def _first(
    tracker: Address, units: Mapping[DeviceKey, Address], session_timeout_s: float
) -> Description | Failure:
    """Those that give a sign of life are asked before those that do not: a frozen one costs a timeout."""
    said: Description | Failure | None = None
    for key in sorted(units, key=lambda each: (not answers(units[each]), each)):
        said = DeviceDriver(tracker, key, session_timeout_s).describe()
        if isinstance(said, Description):
            break
    if said is None:
        raise ValueError("no units to ask")
    return said


def _complaint(tracker: Address, missing: list[str], silent: Mapping[str, Failure]) -> str:
    if absent := [name for name in missing if name not in silent]:
        return (
            f"the tracker at {tracker} has no device of class {', '.join(absent)}; register one with "
            f"`blinknet device --tracker {tracker} --key {absent[0]}.UNIT`, or remove the bounds"
        )
    name, failure = next(iter(silent.items()))
    return f"no device of class {name} answers: {failure}; `blinknet devices` shows who does"
