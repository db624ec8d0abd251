"""What this machine's CPU can do, as Linux tells it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cpu_features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Names from the first ``flags`` (x86), ``Features`` (Arm) or ``isa`` (RISC-V) line; empty if none."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    for name, _, value in (line.partition(":") for line in lines):
        if name.strip() in {"flags", "Features"}:
            return frozenset(value.split())
        if name.strip() == "isa":
            letters, *names = value.strip().split("_")
            return frozenset((*letters.removeprefix("rv64"), *names))
    return frozenset()


def missing_features(required: Iterable[str], cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """Those of ``required`` that this machine does not have, sorted."""
    return tuple(sorted(set(required) - cpu_features(cpuinfo)))
