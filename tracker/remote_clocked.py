"""Runs networks whose kernels read a clock. Runs in the session's child."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvm.runtime.vm import VirtualMachine

from tracker.clocked import PlainClocked, intervals
from tracker.remote import RemoteDevice
from tracker.remote_timing import read_times
from tracker.tensors import host_values
from tracker.timing import Argument


class _Pool:
    """Tensors that networks share: none runs while another does, and what is in them says nothing."""

    def __init__(self, device: RemoteDevice) -> None:
        self._device = device
        self._tensors: dict[Argument, list[Any]] = {}

    def take(self, arguments: Sequence[Argument]) -> list[Any]:
        """A different tensor for each argument."""
        taken: Counter[Argument] = Counter()
        found = []
        for argument in arguments:
            several = self._tensors.setdefault(argument, [])
            if taken[argument] == len(several):
                several.append(self._device.tensors.fill(*argument))
            found.append(several[taken[argument]])
            taken[argument] += 1
        return found


class _Clocked:
    """One network on the device."""

    def __init__(self, device: RemoteDevice, machine: Any, network: PlainClocked, pool: _Pool) -> None:
        self._device = device
        self._machine = machine
        self._network = network
        self._arguments = pool.take([*network.arguments, network.stamps])

    def run(self, runs: int) -> list[list[float]]:
        """Seconds ``(runs, 1 + kernels + 1)`` of so many runs in a row, without a round trip in between."""
        stamps = self._arguments[-1]
        stamps.copyfrom(host_values(*self._network.stamps))
        evaluate = self._machine.module.time_evaluator(
            self._network.entry, self._device.cpu, number=1, repeat=runs
        )
        # It runs once before the first that it times.
        whole = read_times(lambda: evaluate(*self._arguments), runs)
        found = intervals(stamps.numpy(), runs, self._network.kernels)
        return [[*each, seconds] for each, seconds in zip(found, whole, strict=True)]


def time_clocked(
    device: RemoteDevice, library: Path, networks: Sequence[PlainClocked], rounds: int, repeats: int
) -> list[list[list[float]]]:
    """See ``Session.time_clocked``."""
    machine, pool = VirtualMachine(device.load(library), device.cpu), _Pool(device)
    every = [_Clocked(device, machine, each, pool) for each in networks]
    seconds: list[list[list[float]]] = [[] for _ in every]
    for _ in range(rounds):
        for network, found in zip(every, seconds, strict=True):
            found.extend(network.run(repeats))
    return seconds
