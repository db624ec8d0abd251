"""A machine's facts from Linux's own files, whoever reads them: the agent on its disk, a session over RPC."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from tracker.device import Agent, Description
from tracker.errors import TrackerError
from tracker.levels import Level, visible

_MOST_CORES: Final = 1 << 13
"""That Linux is built for on any machine."""
Reader = Callable[[str], str]
"""A file's text by its absolute path; the empty text when there is no such file."""


def describe(
    read: Reader, architecture: str, agent: Agent, level: Level | None = None, emulated: bool = False
) -> Description:
    """What ``read`` tells about the machine and the process that reads; raises TrackerError off Linux.

    An emulated machine has neither clock nor temperature: what it shows may be the emulating machine's.
    """
    cpuinfo = read("/proc/cpuinfo")
    cores = _core_list(_field(read("/proc/self/status"), "Cpus_allowed_list"))
    memory = _field(read("/proc/meminfo"), "MemTotal").split()
    if not (cores and memory):
        raise TrackerError("the device shows no Linux /proc; run its server on Linux, with /proc mounted")
    return Description(
        architecture=architecture,
        cpu=_field(cpuinfo, "model name", "Model", "Hardware", "uarch"),
        features=visible(_features(cpuinfo), level),
        cores=len(_core_list(read("/sys/devices/system/cpu/present"))) or len(cores),
        memory_bytes=int(memory[0]) * 1024,
        clock_hz=None if emulated else _clock_hz(read, cpuinfo, cores[0]),
        temperature_c=None if emulated else _scaled(read("/sys/class/thermal/thermal_zone0/temp"), 1e-3),
        host=read("/proc/sys/kernel/random/boot_id").strip(),
        timing_cores=cores,
        pid=int(read("/proc/self/stat").split()[0]),
        agent=agent,
        emulated=emulated,
    )


def _features(cpuinfo: str) -> list[str]:
    """By name; of RISC-V's ``rv64imafdc_zicsr`` one letter each, then the extensions with names."""
    letters, *names = _field(cpuinfo, "isa").split("_")
    return _field(cpuinfo, "flags", "Features").split() or [*letters.removeprefix("rv64"), *names]


def _field(text: str, *names: str) -> str:
    """The first value of the first name that ``name : value`` lines have, or the empty text."""
    for name in names:
        if found := re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1].strip()
    return ""


def _core_list(text: str) -> tuple[int, ...]:
    """Linux's ``0-2,5`` as numbers."""
    ranges = [part.split("-") for part in text.strip().split(",") if part]
    if any(int(ends[-1]) >= _MOST_CORES for ends in ranges):
        raise TrackerError(f"the device names a core above {_MOST_CORES}; update its server")
    return tuple(core for ends in ranges for core in range(int(ends[0]), int(ends[-1]) + 1))


def _clock_hz(read: Reader, cpuinfo: str, core: int) -> float | None:
    scaling = read(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
    return _scaled(scaling, 1e3) or _scaled(_field(cpuinfo, "cpu MHz"), 1e6)


def _scaled(text: str, factor: float) -> float | None:
    return float(text) * factor if text.strip() else None
