"""How long our engine takes to build: kernels by the library, and whole networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from benchmarks.networks import model_path
from cluster.planning import KernelRequest, plan_class
from network.approximations import Catalogue, catalogue
from network.assemble import Choice, assemble
from network.errors import NetworkError
from network.layers import Network
from network.onnx_import import load
from network.samples import Samples
from network.target import Target
from workers.build import build

APPROXIMATIONS = ("exact", "int8")
BATCH = 16
"""Kernels a library: what the coordinator gives a worker at once."""
CALIBRATION = 4
"""Samples. Parameters are fitted to them; what is compiled hardly depends on them."""


@dataclass(frozen=True, slots=True)
class KernelTimes:
    """What it took to build a sample of a network's kernels."""

    variants: int
    """Of all layers."""
    requests: int
    """Different kernels and tiles of those variants."""
    library_s: tuple[float, ...]
    """For each library of ``BATCH`` kernels."""

    @property
    def per_kernel_s(self) -> float:
        """The mean, with each kernel's share of linking."""
        return sum(self.library_s) / (BATCH * len(self.library_s))


@dataclass(frozen=True, slots=True)
class NetworkTimes:
    """What it took to assemble and compile a network, or why it cannot be."""

    name: str
    seconds: Mapping[str, float]
    """By approximation, the same in every layer that has it; empty where it cannot be."""
    refused: str = ""

    @property
    def slowest_s(self) -> float | None:
        """The longest of them, or None."""
        return max(self.seconds.values(), default=None)


def kernel_times(name: str, libraries: int) -> KernelTimes:
    """Time so many libraries of kernels, evenly spread over all that a run of the network may build.

    Raises NetworkError where this machine is no target, or a kernel does not compile.
    """
    target = Target.host()
    with TemporaryDirectory(prefix="blinknet-benchmark-") as folder:
        known = known_variants(load(model_path(name, Path(folder))), None)
    plan = plan_class("host", target, known)
    requests = list(plan.kernels.values())
    batches = spread(requests, libraries)
    # A worker lives for many libraries; its first also pays for TVM's and LLVM's start.
    _library_s(batches[0], target)
    variants = sum(map(len, known.variants.values()))
    return KernelTimes(variants, len(requests), tuple(_library_s(each, target) for each in batches))


def spread(requests: Sequence[KernelRequest], libraries: int) -> list[list[KernelRequest]]:
    """Batches of kernels that are far from each other in the network's order.

    Raises ValueError where there are too few to fill them.
    """
    count = libraries * BATCH
    if count > len(requests):
        raise ValueError(f"{len(requests)} kernels do not fill {libraries} libraries of {BATCH}")
    chosen = [requests[index * len(requests) // count] for index in range(count)]
    return [chosen[first::libraries] for first in range(libraries)]


def network_times(name: str, rounds: int) -> NetworkTimes:
    """Assemble the network so many times in each approximation; the fastest counts.

    A network that cannot be read gives its reason. Raises NetworkError where this machine is no target.
    """
    target = Target.host()
    with TemporaryDirectory(prefix="blinknet-benchmark-") as temporary:
        folder = Path(temporary)
        try:
            network = load(model_path(name, folder))
        except NetworkError as error:
            return NetworkTimes(name, {}, str(error))
        chosen = dict(_uniform(known_variants(network, ["int8"]), target))
        return NetworkTimes(
            name,
            {
                approximation: min(
                    _assembly_s(network, choices, target, folder / "network.so") for _ in range(rounds)
                )
                for approximation, choices in chosen.items()
            },
        )


def known_variants(
    network: Network, named: Sequence[str] | None, degrees: Sequence[Fraction] | None = None
) -> Catalogue:
    """What the named methods (None: all) make of a network, fitted to a few samples of noise."""
    random = np.random.default_rng(0)
    x, *others = (
        random.standard_normal((CALIBRATION, *shape), dtype=np.float32)
        for shape in network.input_shapes.values()
    )
    return catalogue(network, Samples(x, np.zeros(CALIBRATION, np.int64), tuple(others)), named, degrees)


def _library_s(batch: Sequence[KernelRequest], target: Target) -> float:
    start = perf_counter()
    built = build(batch, target, cores=())
    seconds = perf_counter() - start
    for request, reason in built.failures.items():
        raise NetworkError(f"kernel {request} does not compile: {reason}; report it")
    return seconds


def _uniform(known: Catalogue, target: Target) -> Iterator[tuple[str, dict[str, Choice]]]:
    """Choices for every layer by approximation, with each kernel's most promising tile."""
    table = plan_class("host", target, known).table
    for approximation in APPROXIMATIONS:
        yield (
            approximation,
            {
                each.layer: Choice(
                    known.fitted(known.variant(each.layer, each.key)),
                    tuple(step.tiles[0] for step in each.steps),
                )
                for each in table.uniform(approximation)
            },
        )


def _assembly_s(network: Network, choices: Mapping[str, Choice], target: Target, path: Path) -> float:
    start = perf_counter()
    assemble(network, choices, target, path)
    return perf_counter() - start
