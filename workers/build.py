"""Compiling, away from the cores that are being timed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from network.assemble import Choice, assemble
from network.build import Tile, build_library, request_key
from network.clocked import Chosen, Clocked, assemble_clocked
from network.layers import Network
from network.target import Target
from network.variants import Fitted, Kernel
from tracker.timing import TimingRequest
from workers.reference import reference_kernel

RUNS_A_TURN: Final = 10
"""Inferences in a row of one network before another's turn: all see the same moods of the device."""


@dataclass(frozen=True, slots=True)
class Library:
    """Many kernels in one shared library, as bytes: whoever drives the device may be another machine."""

    content: bytes
    symbols: Mapping[str, str]
    """Request to the function that it became."""
    failures: Mapping[str, str]
    """Request to the reason why it did not compile."""
    reference: TimingRequest | None = None
    """The kernel that tells whether the device is as fast as it was."""


@dataclass(frozen=True, slots=True, eq=False)
class Executable:
    """A configuration, assembled for one target: what runs on the device and what goes into the bundle."""

    library: bytes
    parameters: tuple[tuple[str, NDArray[Any]], ...]
    """In the order in which ``main`` takes them behind its input."""
    planned_bytes: int
    workspace_bytes: int

    @property
    def parameter_bytes(self) -> int:
        """Of all parameters."""
        return sum(array.nbytes for _, array in self.parameters)

    @property
    def transfer_bytes(self) -> int:
        """What has to reach a device before it can run."""
        return len(self.library) + self.parameter_bytes

    @property
    def arrays(self) -> list[NDArray[np.generic]]:
        """The parameters without their names."""
        return [array for _, array in self.parameters]


@dataclass(frozen=True, slots=True)
class ClockedLibrary:
    """Configurations whose kernels read a clock, in one shared library."""

    content: bytes
    networks: tuple[Clocked, ...]
    """In the order in which they were given."""


def build(
    requests: Sequence[tuple[Kernel, tuple[int, ...]]], target: Target, cores: Sequence[int]
) -> Library:
    """Compile kernels with their tiles into one library, on the given cores (none: wherever).

    The reference kernel is among them.
    """
    keep_to(cores)
    isa, kernel = target.isa, reference_kernel()
    reference = kernel, kernel.tiles(isa)[0]
    wanted = {request_key(*each) for each in requests}
    with TemporaryDirectory(prefix="blinknet-build-") as folder:
        path = Path(folder) / "kernels.so"
        built = build_library([*requests, reference], target, path)
        symbols = {key: each for key, each in built.symbols.items() if key in wanted}
        failures = {key: each for key, each in built.failures.items() if key in wanted}
        content = path.read_bytes() if symbols else b""
    symbol = built.symbols.get(request_key(*reference))
    reference_request = TimingRequest(symbol, kernel.arguments(isa)) if symbol else None
    return Library(content, symbols, failures, reference_request)


def assemble_executable(
    network: Network,
    fitted: Mapping[str, Fitted],
    tiles: Sequence[Sequence[Tile]],
    target: Target,
    cores: Sequence[int],
) -> Executable:
    """Compile a whole configuration into one executable: a variant a layer, and tiles for its kernels."""
    keep_to(cores)
    choices = {
        layer.name: Choice(fitted[layer.name], tuple(each))
        for layer, each in zip(network.layers, tiles, strict=True)
    }
    with TemporaryDirectory(prefix="blinknet-assemble-") as folder:
        path = Path(folder) / "network.so"
        assembled = assemble(network, choices, target, path)
        return Executable(
            path.read_bytes(), assembled.parameters, assembled.planned_bytes, assembled.workspace_bytes
        )


def assemble_profile(
    network: Network, configurations: Sequence[Chosen], target: Target, cores: Sequence[int]
) -> ClockedLibrary:
    """Compile configurations (kernels with their tiles, by layer) with a clock between their kernels."""
    keep_to(cores)
    with TemporaryDirectory(prefix="blinknet-profile-") as folder:
        path = Path(folder) / "profile.so"
        found = assemble_clocked(network, configurations, target, RUNS_A_TURN + 1, path)
        return ClockedLibrary(path.read_bytes(), found)


def keep_to(cores: Sequence[int]) -> None:
    """Pin this process, so that what it computes does not disturb what is being timed."""
    if usable := set(cores) & os.sched_getaffinity(0):
        os.sched_setaffinity(0, usable)
