"""A fleet on this machine: a tracker on a free loopback port and one device for each x86 level of the CPU.

Classes that are named like a processor that we emulate get an emulated device.

Every device is a real TVM RPC server process with a target of its own. With four cores or more each gets one
for itself; on less they share the last one, and the coordinator times them one after another, so that the
first cores stay free for compiling.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

from cluster.errors import ClusterError
from network.isas import known
from network.target import host_features
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.cpus import CPUS
from tracker.device import DeviceKey
from tracker.emulation import start_emulated
from tracker.levels import LEVELS, Level
from tracker.tracker import TrackerProcess

UNIT = "local"


def local_classes() -> tuple[str, ...]:
    """The x86 levels of this machine's CPU, the oldest first."""
    features = host_features()
    there = {isa.mcpu for isa in known() if features.issuperset(isa.requires)}
    return tuple(level for level in LEVELS if level in there)


@contextmanager
def embedded_fleet(classes: Sequence[str]) -> Iterator[Address]:
    """Tracker and devices for as long as the block lasts; yields the tracker's address.

    Meanwhile this process, and what it starts, keeps off the cores on which the devices time.
    """
    timing, host = timing_cores(len(classes)), host_cores(len(classes))
    with ExitStack() as stack:
        stack.enter_context(_pinned(host))
        tracker = stack.enter_context(TrackerProcess.start())
        for name, core in zip(classes, timing, strict=True):
            key = DeviceKey(name, UNIT)
            stack.enter_context(_start(tracker.address, key, core))
        yield tracker.address


def _start(tracker: Address, key: DeviceKey, core: int) -> AgentProcess:
    if key.device_class in CPUS:
        return start_emulated(tracker, key, key.device_class, cores=[core])
    return AgentProcess.start(tracker, key, isa=level(key.device_class), cores=[core])


@contextmanager
def _pinned(cores: Sequence[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def level(device_class: str) -> Level:
    """The class as the x86 level that its device shows; raises ``ClusterError`` for any other class."""
    if device_class in LEVELS:
        return cast("Level", device_class)
    raise ClusterError(
        f"an embedded fleet has no class {device_class}, only {', '.join((*LEVELS, *CPUS))}; "
        "register a device of that class and name its tracker with --tracker HOST:PORT"
    )


def host_cores(devices: int) -> tuple[int, ...]:
    """The cores that no embedded device times on: where to compile and evaluate."""
    timed = set(timing_cores(devices))
    return tuple(sorted(os.sched_getaffinity(0) - timed)) or tuple(timed)


def timing_cores(devices: int) -> list[int]:
    """A core for each device: the last ones, so that what else runs keeps the first."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= devices + 1:
        return cores[-devices:]
    return [cores[-1]] * devices
