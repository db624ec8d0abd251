"""Holds a session's process to so much more memory than it has: what a device with less would do to it.

RLIMIT_DATA counts private writable mappings, whether their pages were touched or not: heap, buffers, thread
stacks. Pages of libraries, which all processes share, do not count. Beyond the limit Linux refuses to map, an
allocation fails, and TVM ends the call or the process.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_M_TOP_PAD: Final = -2


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a network took of a device's memory, and whether it could have taken more."""

    peak_bytes: int
    enforced: bool
    """Whether the device would have refused it more than the limit."""


def limit_memory(size: int) -> bool:
    """Lets this process map ``size`` bytes more than it has; whether that is enforced.

    Another call replaces the limit. Emulators take it and enforce nothing, which is why it is tried out.
    """
    present = data_bytes(Path("/proc/self/status").read_text())
    # Otherwise the heap grows by 128 KiB at a time, needed or not.
    ctypes.CDLL(None).mallopt(_M_TOP_PAD, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = present + size
    resource.setrlimit(
        resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    )
    return present > 0 and not _maps(size + mmap.PAGESIZE)


def data_bytes(status: str) -> int:
    """What RLIMIT_DATA counts, of the text of /proc/PID/status; 0 where it does not say."""
    found = re.search(r"^VmData:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _maps(size: int) -> bool:
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        return False
    return True
