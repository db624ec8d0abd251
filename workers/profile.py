"""What every kernel of whole configurations took on a device, read by a clock between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from network.clocked import Clocked
from tracker.clocked import ClockedNetwork, ClockedTimes
from workers.build import ClockedLibrary


@dataclass(frozen=True, slots=True, eq=False)
class KernelInContext:
    """One kernel at its place in a configuration: raw seconds of every run, clock included."""

    layer: str
    step: int
    request: str
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkInContext:
    """A configuration whose kernels read a clock."""

    kernels: tuple[KernelInContext, ...]
    """In the order in which they run."""
    clock_s: float
    """One look at the clock: the median of all runs."""
    rest_s: float
    """What a run takes besides its kernels and the clock, likewise."""


@dataclass(frozen=True, slots=True, eq=False)
class ProfileResult:
    """What every kernel of every configuration of a library took."""

    networks: tuple[NetworkInContext, ...]


def networks_of(library: ClockedLibrary) -> list[ClockedNetwork]:
    """Its configurations as a session wants them."""
    return [
        ClockedNetwork(each.entry, each.arguments, each.stamps, len(each.places)) for each in library.networks
    ]


def profile_of(library: ClockedLibrary, sessions: Sequence[Sequence[ClockedTimes]]) -> ProfileResult:
    """The runs of all sessions, in each of which every configuration ran."""
    several = zip(library.networks, *sessions, strict=True)
    return ProfileResult(tuple(_in_context(each, times) for each, *times in several))


def _in_context(clocked: Clocked, sessions: Sequence[ClockedTimes]) -> NetworkInContext:
    kernel_s = np.concatenate([each.kernel_s for each in sessions])
    kernels = tuple(
        KernelInContext(layer, step, request, tuple(kernel_s[:, index].tolist()))
        for index, (layer, step, request) in enumerate(clocked.places)
    )
    clock_s, rest_s = (
        float(np.median(np.concatenate(several)))
        for several in ([each.clock_s for each in sessions], [each.rest_s for each in sessions])
    )
    return NetworkInContext(kernels, clock_s, rest_s)
