"""Emulated devices: the C++ agent under qemu's user mode, which runs one program as another processor would.

The instruction set is enforced: an instruction that the processor does not have ends the session with SIGILL.
Times are those of the emulator, ten to two hundred times native, and say nothing about a real board: every
figure of an emulated device is marked as such.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.child import ChildProcess
from tracker.cpus import CPUS
from tracker.device import DeviceKey
from tracker.edge_build import agent_command
from tracker.edge_errors import MissingToolError
from tracker.edge_runtime import ARCHITECTURES
from tracker.errors import TrackerError


def start_emulated(
    tracker: Address,
    key: DeviceKey,
    cpu: str,
    host: str = "127.0.0.1",
    cores: Sequence[int] | None = None,
) -> AgentProcess:
    """Starts an emulated device and waits until it is registered; raises TrackerError."""
    return AgentProcess.of(ChildProcess(emulated_command(tracker, key, cpu, host, cores), ()), tracker, key)


def serve_emulated(
    tracker: Address,
    key: DeviceKey,
    cpu: str,
    host: str = "127.0.0.1",
    cores: Sequence[int] | None = None,
) -> NoReturn:
    """Turns this process into an emulated device; raises TrackerError where that cannot be."""
    words = emulated_command(tracker, key, cpu, host, cores)
    os.execv(words[0], words)  # noqa: S606 (no shell is wanted)


def emulated_command(
    tracker: Address, key: DeviceKey, cpu: str, host: str = "127.0.0.1", cores: Sequence[int] | None = None
) -> list[str]:
    """Qemu with the agent, which is built on first use; raises TrackerError: what to install."""
    if cpu not in CPUS:
        raise TrackerError(f"no processor {cpu} is emulated; choose from {', '.join(CPUS)}")
    emulator = _emulator(CPUS[cpu])
    agent = agent_command(CPUS[cpu], tracker, key, host, cores)
    # The agent finds the processor's name in the variable: no instruction tells it.
    return [*emulator, "-cpu", cpu, "-E", f"QEMU_CPU={cpu}", *agent, "--emulated"]


def _emulator(architecture: str) -> list[str]:
    names = (f"qemu-{architecture}-static", f"qemu-{architecture}")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise MissingToolError(f"nothing here emulates {architecture}: run `apt install qemu-user-static`")
    return [found, *_system_root(architecture)]


def _system_root(architecture: str) -> list[str]:
    """Where the C library is that emulated programs load."""
    if architecture == platform.machine():
        return []
    root = Path("/usr", ARCHITECTURES[architecture])
    if not (root / "lib").is_dir():
        package = f"g++-{ARCHITECTURES[architecture].replace('_', '-')}"
        raise MissingToolError(
            f"there is no C library for {architecture} in {root}: run `apt install {package}`"
        )
    return ["-L", str(root)]
