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

from tracker.memory_limit import Footprint, data_bytes
from tracker.remote import RemoteDevice
from tracker.remote_files import DeviceFiles, open_files
from tracker.remote_network import RemoteNetwork, Shape

_SMAPS: Final = "/proc/self/smaps"
_STATUS: Final = "/proc/self/status"
_UNLIMITED: Final = 1 << 30
_MAPPING: Final = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$")


def measure_peak(
    device: RemoteDevice,
    library: Path,
    parameters: Sequence[NDArray[Any]],
    inputs: Sequence[Shape],
    outputs: Sequence[Shape],
) -> int:
    """Bytes that loading and running the network adds to a session that has done nothing else."""
    files = _files_ready(device, library, parameters)
    before = _owned(device, files)
    network = RemoteNetwork(device, library, parameters, inputs, outputs)
    network.warm_up()
    return _owned(device, files) - before


class OverLimitError(Exception):
    """There is no memory left to run in once the network is loaded."""


def run_within(
    device: RemoteDevice,
    library: Path,
    parameters: Sequence[NDArray[Any]],
    inputs: Sequence[Shape],
    outputs: Sequence[Shape],
    limit_bytes: int,
    runs: int,
) -> Footprint:
    """The same for a network that may have ``limit_bytes``, over so many inferences.

    The limit is set when parameters are loaded, so that the buffers of their transport do not count, to what
    they leave of it. A network that needs more ends its session, or raises; OverLimitError where nothing is
    left.
    """
    files = _files_ready(device, library, parameters)
    _start_threads(device)
    before, data_before = _owned(device, files), _data(files)
    network = RemoteNetwork(device, library, parameters, inputs, outputs)
    files.trim()
    taken = _data(files) - data_before + library.stat().st_size
    room = limit_bytes - taken
    if room <= 0:
        raise OverLimitError(f"parameters and library take {taken} of {limit_bytes} bytes")
    loaded, enforced = _data(files), files.limit_memory(room)
    network.warm_up()
    files.limit_memory(_UNLIMITED)  # Looking needs memory as well.
    grown = _data(files) - loaded
    peak = _owned(device, files) - before
    files.limit_memory(max(0, room - grown))
    network.times(runs)
    return Footprint(peak, enforced)


def _start_threads(device: RemoteDevice) -> None:
    """Their stacks are TVM's, not the network's, and would count whole."""
    if threads := device.function("runtime.NumThreads"):
        threads()


def _data(files: DeviceFiles) -> int:
    return data_bytes(files.read(_STATUS))


def _files_ready(device: RemoteDevice, library: Path, parameters: Sequence[NDArray[Any]]) -> DeviceFiles:
    """What RPC itself needs for the largest transfer is taken before the count, not during it."""
    files = open_files(device)
    size = max([library.stat().st_size, *(each.nbytes for each in parameters)])
    files.trim()
    name = device.fresh_name("transport")
    device.upload(name, bytes(size))
    device.session.remove(name)
    device.tensor(np.zeros(size, np.uint8))
    files.read(_SMAPS)
    return files


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
