"""What this machine's CPU can do, as Linux tells it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cpu_features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Names from the first ``flags`` (x86) or ``Features`` (Arm) line; empty where there is none."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    named = (line.partition(":") for line in lines)
    return next(
        (frozenset(value.split()) for name, _, value in named if name.strip() in {"flags", "Features"}),
        frozenset(),
    )


def missing_features(required: Iterable[str], cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """Those of ``required`` that this machine does not have, sorted."""
    return tuple(sorted(set(required) - cpu_features(cpuinfo)))
