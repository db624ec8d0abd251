"""Runs networks whose kernels read a clock. Runs in the session's child."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from math import prod
from pathlib import Path
from typing import Any

from tvm.runtime.vm import VirtualMachine

from tracker.clocked import PlainClocked, intervals
from tracker.remote import RemoteDevice
from tracker.remote_timing import read_times
from tracker.tensors import host_values
from tracker.timing import Argument

Kind = tuple[str, str]
"""Element type, and how it is filled."""


class _Pool:
    """Memory that networks share: none runs while another does, and what is in it says nothing.

    So a device needs little more than its largest network: of each kind the largest argument of all networks
    lies in the first buffer, the second largest in the second, and so on.
    """

    def __init__(self, device: RemoteDevice, networks: Sequence[PlainClocked]) -> None:
        sizes: dict[Kind, list[int]] = {}
        for network in networks:
            for kind, arguments in _by_size(network.arguments).items():
                counts = [prod(network.arguments[each].shape) for each in arguments]
                sizes[kind] = [max(each) for each in zip_longest(sizes.get(kind, ()), counts, fillvalue=0)]
        self._buffers = {
            kind: [device.tensors.fill((count,), *kind) for count in counts] for kind, counts in sizes.items()
        }

    def take(self, arguments: Sequence[Argument]) -> list[Any]:
        """A different tensor for each argument."""
        taken: dict[int, Any] = {}
        for (dtype, fill), indices in _by_size(arguments).items():
            for buffer, index in zip(self._buffers[dtype, fill], indices, strict=False):
                taken[index] = buffer._create_view(arguments[index].shape, dtype, 0)
        return [taken[index] for index in range(len(arguments))]


def _by_size(arguments: Sequence[Argument]) -> dict[Kind, list[int]]:
    """Indices of the arguments of each kind, those of the largest first."""
    found: dict[Kind, list[int]] = {}
    for index, _ in sorted(enumerate(arguments), key=lambda each: -prod(each[1].shape)):
        found.setdefault((arguments[index].dtype, arguments[index].fill), []).append(index)
    return found


class _Clocked:
    """One network on the device."""

    def __init__(
        self, device: RemoteDevice, machine: Any, network: PlainClocked, arguments: Sequence[Any], stamps: Any
    ) -> None:
        self._network = network
        self._arguments = (*arguments, stamps)
        self._evaluator = partial(machine.module.time_evaluator, network.entry, device.cpu, number=1)

    def run(self, runs: int) -> list[list[float]]:
        """Seconds ``(runs, 1 + kernels + 1)`` of so many runs in a row, without a round trip in between."""
        stamps = self._arguments[-1]
        stamps.copyfrom(host_values(*self._network.stamps))
        evaluate = self._evaluator(repeat=runs)
        # It runs once before the first that it times.
        whole = read_times(lambda: evaluate(*self._arguments), runs)
        found = intervals(stamps.numpy(), runs, self._network.kernels)
        return [[*each, seconds] for each, seconds in zip(found, whole, strict=True)]


def time_clocked(
    device: RemoteDevice, library: Path, networks: Sequence[PlainClocked], rounds: int, repeats: int
) -> list[list[list[float]]]:
    """See ``Session.time_clocked``."""
    machine, pool = VirtualMachine(device.load(library), device.cpu), _Pool(device, networks)
    stamps = {each: device.tensors.fill(*each) for each in {network.stamps for network in networks}}
    every = [
        _Clocked(device, machine, each, pool.take(each.arguments), stamps[each.stamps]) for each in networks
    ]
    seconds: list[list[list[float]]] = [[] for _ in every]
    for _ in range(rounds):
        for network, found in zip(every, seconds, strict=True):
            found.extend(network.run(repeats))
    return seconds
