"""Numbers as people read them."""

from __future__ import annotations

NO_BREAK = "\u00a0"
"""Between a number and its unit, so that no line ends there."""
SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def significant(value: float, digits: int = 3) -> str:
    """Plain decimal notation with that many significant digits, trailing zeros kept: 0.310, 61.2, 2,310."""
    if value == 0:
        return "0"
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if magnitude >= digits:
        return f"{value:,.0f}"
    return f"{value:.{digits - magnitude}f}"


def duration(seconds: float) -> str:
    """In microseconds below a millisecond, in milliseconds above."""
    unit, scale = duration_unit(seconds)
    return f"{significant(seconds * scale)}{NO_BREAK}{unit}"


def duration_unit(seconds: float) -> tuple[str, float]:
    """Name of the unit that fits, and how many of it make a second."""
    return ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)


def size(nbytes: float) -> str:
    """In the largest binary unit of which there is at least one."""
    for unit, scale in SIZES:
        if nbytes >= scale:
            return f"{significant(nbytes / scale)}{NO_BREAK}{unit}"
    return f"{nbytes:.0f}{NO_BREAK}B"


def share(fraction: float) -> str:
    """As a percentage: 19.7%."""
    return f"{fraction:.1%}"


def points(value: float) -> str:
    """Percentage points."""
    return f"{value:.2f}{NO_BREAK}pp"


def moment(iso: str) -> str:
    """An ISO time without what only machines need."""
    return iso.replace("T", " ").replace("+00:00", " UTC")
