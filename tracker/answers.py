"""What a device's answers must look like: data from elsewhere, believed only as far as it can be true. Pure.

Every function raises GarbledError for an answer that no honest device gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.clocked import ClockedNetwork, ClockedTimes
from tracker.failure import FailureKind, GarbledError
from tracker.memory_limit import Footprint
from tracker.timing import Timing

LONGEST_TEXT: Final = 1 << 20
"""Of a description; the longest on a server with hundreds of cores has a few thousand characters."""
LONGEST_MESSAGE: Final = 2000
MOST_MEMORY_BYTES: Final = 1 << 50
LONGEST_S: Final = 86_400.0
FAILURES: Final[tuple[FailureKind, ...]] = (
    "unreachable", "busy", "timeout", "crash", "refused", "garbled",
)  # fmt: skip
"""Those that a session's process may report; the others are for its parent to say."""


def seconds(values: Any, fewest: int, most: int, *, zero: bool = False) -> tuple[float, ...]:
    """Times of which there must be so many: finite, and more than nothing.

    ``zero``: a single call may be shorter than a tick of the device's clock.
    """
    if not isinstance(values, list | tuple) or not fewest <= len(values) <= most:
        count = len(values) if isinstance(values, list | tuple) else "no"
        raise GarbledError(f"{count} times instead of {fewest} to {most}")
    for each in values:
        if not (isinstance(each, float) and 0 <= each < LONGEST_S and (each > 0 or zero)):
            raise GarbledError(f"a time of {short(each)} s")
    return tuple(values)


def timing(value: Any, symbol: str, most: int) -> Timing:
    """Of the function that was asked for, with at most so many repeats."""
    if not isinstance(value, Mapping) or value.get("symbol") != symbol:
        raise GarbledError(f"no timing of {symbol}")
    number, converged = value.get("number"), value.get("converged")
    if not (isinstance(number, int) and number > 0 and isinstance(converged, bool)):
        raise GarbledError(f"a timing of {symbol} with {short(number)} calls a repeat")
    return Timing(symbol, number, seconds(value.get("seconds"), 1, most), converged)


def timings(value: Any, names: Sequence[str], count: int) -> dict[str, tuple[float, ...]]:
    """``count`` times under each of the names."""
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise GarbledError(f"times of something else than {', '.join(names)}")
    return {name: seconds(value[name], count, count) for name in names}


def clocked(value: Any, networks: Sequence[ClockedNetwork], runs: int) -> tuple[ClockedTimes, ...]:
    """For each network the clock, its kernels and the whole, ``runs`` times."""
    if not isinstance(value, list) or len(value) != len(networks):
        raise GarbledError(f"clocks of something else than {len(networks)} networks")
    return tuple(_clocked(each, network, runs) for each, network in zip(value, networks, strict=True))


def _clocked(value: Any, network: ClockedNetwork, runs: int) -> ClockedTimes:
    if not isinstance(value, list) or len(value) != runs:
        raise GarbledError(f"a clock's times of something else than {runs} runs of {network.entry}")
    count = 1 + network.kernels + 1
    rows = np.array([seconds(each, count, count, zero=True) for each in value])
    return ClockedTimes(rows[:, 0], rows[:, 1:-1], rows[:, -1])


def arrays(value: Any, shapes: Sequence[tuple[int, ...]]) -> tuple[NDArray[np.float32], ...]:
    """One float32 array for each shape; what is in it is for whoever asked to judge."""
    found = _shapes(value)
    if found != list(shapes):
        raise GarbledError(f"answers of shapes {short(found)} instead of {list(shapes)}")
    return tuple(value)


def _shapes(value: Any) -> list[tuple[int, ...] | None]:
    every = value if isinstance(value, list) else [value]
    return [each.shape if isinstance(each, np.ndarray) else None for each in every]


def byte_count(value: Any) -> int:
    """Of memory that was taken."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST_MEMORY_BYTES:
        return value
    raise GarbledError(f"{short(value)} bytes of memory")


def footprint(value: Any) -> Footprint:
    """What a network took, and whether more would have been refused."""
    match value:
        case {"peak_bytes": peak, "enforced": bool(enforced)}:
            return Footprint(byte_count(peak), enforced)
    raise GarbledError("no footprint")


def text(value: Any, longest: int = LONGEST_TEXT) -> str:
    """At most so many characters."""
    if isinstance(value, str) and len(value) <= longest:
        return value
    raise GarbledError(f"a text of {len(value)} characters" if isinstance(value, str) else "no text")


def place(value: Any) -> tuple[str, int] | None:
    """Host and port; none where the device can only be asked through its session."""
    match value:
        case None:
            return None
        case [str(host), int(port)] if 0 < port < 65536 and len(host) < LONGEST_MESSAGE:
            return host, port
    raise GarbledError("no address of the device")


def failure(kind: Any, message: Any) -> tuple[FailureKind, str]:
    """What a session's process says went wrong; a message that is too long is cut."""
    found = next((each for each in FAILURES if each == kind), None)
    if found is None or not isinstance(message, str):
        raise GarbledError("a failure of no kind")
    return found, message[:LONGEST_MESSAGE]


def short(value: Any) -> str:
    """For messages, however large it is."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:g}"
    written = str(value) if isinstance(value, int | list | tuple) else type(value).__name__
    return written[:100]
