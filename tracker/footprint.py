"""How much memory a network adds to a device's process. Runs in the session's child.

Linux's own counters (VmRSS, VmHWM) are kept per core and are up to ~100 KB off; /proc/self/smaps is exact.
A network's buffers stay where they are after its first run: the virtual machine's buffers and the kernels'
workspaces come from pools that keep what they had. So what is resident after some runs is the peak, and
nothing needs to be caught in the act. What counts is the process's own memory and the pages of the network's
library. Pages of TVM's libraries that are touched for the first time are not the network's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.remote import RemoteDevice
from tracker.remote_files import DeviceFiles, open_files
from tracker.remote_network import RemoteNetwork, Shape

_SMAPS: Final = "/proc/self/smaps"
_MAPPING: Final = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$")


def measure_peak(
    device: RemoteDevice,
    library: Path,
    parameters: Sequence[NDArray[Any]],
    inputs: Sequence[Shape],
    outputs: Sequence[Shape],
) -> int:
    """Bytes that loading and running the network adds to a session that has done nothing else."""
    files = open_files(device)
    largest = max([library.stat().st_size, *(each.nbytes for each in parameters)])
    _use_transport(device, files, largest)
    before = _owned(device, files)
    network = RemoteNetwork(device, library, parameters, inputs, outputs)
    network.warm_up()
    return _owned(device, files) - before


def _use_transport(device: RemoteDevice, files: DeviceFiles, size: int) -> None:
    """What RPC itself needs for the largest transfer is taken before the count, not during it."""
    files.trim()
    name = device.fresh_name("transport")
    device.session.upload(bytearray(size), name)
    device.session.remove(name)
    device.tensor(np.zeros(size, np.uint8))
    files.read(_SMAPS)


def _owned(device: RemoteDevice, files: DeviceFiles) -> int:
    files.trim()
    return owned_bytes(files.read(_SMAPS), device.library_names)


def owned_bytes(smaps: str, names: Sequence[str]) -> int:
    """Anonymous memory of a process, and all resident pages of the mapped files with these names."""
    return sum(
        fields["Rss"] if Path(path).name in names else fields["Anonymous"]
        for path, fields in _mappings(smaps)
    )


def _mappings(smaps: str) -> Iterator[tuple[str, dict[str, int]]]:
    """``(path, {field: bytes})`` of each mapping."""
    path, fields = "", {"Rss": 0, "Anonymous": 0}
    for line in smaps.splitlines():
        if heading := _MAPPING.match(line):
            yield path, fields
            path, fields = heading[1], {}
        elif line.startswith(("Rss:", "Anonymous:")):
            name, value, _ = line.split()
            fields[name.rstrip(":")] = int(value) * 1024
    yield path, fields
