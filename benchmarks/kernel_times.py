"""Kernels timed alone, with their parameters in the nearest cache or as far away as in the whole network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import ceil
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import tvm

from benchmarks.interleave import Block
from network.build import build_library
from network.errors import NetworkError
from network.target import Target
from network.variants import Kernel, TensorSpec

RUNS, REPEATS = 3, 9
MOST_COPIES = 64
"""Of a kernel's parameters: those of a kernel with very few are in a cache anyway."""


@dataclass(frozen=True, slots=True)
class TimedKernel:
    """A compiled kernel with what times it."""

    near: Block
    """In a loop without Python, always with the same parameters."""
    far: Block
    """With other parameters each time: they come from where a network has them when it is their turn."""


def timed_kernels(
    kernels: Mapping[str, tuple[Kernel, tuple[int, ...]]], target: Target, path: Path, network_bytes: int
) -> dict[str, TimedKernel]:
    """Compile kernels with their tiles, by request, into one library; gives what times each.

    ``network_bytes`` are those of all parameters of a network. Raises NetworkError when one does not compile.
    """
    built = build_library(list(kernels.values()), target, path)
    for request, reason in built.failures.items():
        raise NetworkError(f"kernel {request} does not compile: {reason}")
    library = tvm.runtime.load_module(str(built.path))
    return {
        request: _timed(library, symbol, kernels[request][0], target, network_bytes)
        for request, symbol in built.symbols.items()
    }


def median_times(kernels: Mapping[str, TimedKernel]) -> dict[str, float]:
    """Seconds of each kernel, every one timed in turn, so often that half of it may go wrong."""
    seconds: dict[str, list[float]] = {request: [] for request in kernels}
    for _ in range(REPEATS):
        for request, kernel in kernels.items():
            seconds[request].append(kernel.far(RUNS))
    return {request: median(values) for request, values in seconds.items()}


def _timed(
    library: tvm.runtime.Module, symbol: str, kernel: Kernel, target: Target, network_bytes: int
) -> TimedKernel:
    *arguments, result = kernel.arguments(target.isa)
    sources, parameters = arguments[: kernel.inputs], arguments[kernel.inputs :]
    own = sum(each.nbytes for each in parameters)
    copies = max(1, min(MOST_COPIES, ceil(network_bytes / own))) if own else 1
    inputs, output = _filled(sources), _filled([result])
    sets = [(*inputs, *_filled(parameters), *output) for _ in range(copies)]
    function, turns = library[symbol], cycle(sets)

    def near(runs: int) -> float:
        timed = library.time_evaluator(symbol, tvm.cpu(0), number=runs)
        return float(timed(*sets[0]).mean)

    def far(runs: int) -> float:
        start = perf_counter()
        for _ in range(runs):
            function(*next(turns))
        return (perf_counter() - start) / runs

    return TimedKernel(near, far)


def _filled(specs: Sequence[TensorSpec]) -> list[Any]:
    """Memory that nobody has written to reads faster than it ever will again."""
    fill: Callable[..., None] = tvm.get_global_func("tvm.contrib.random.random_fill")
    tensors = [tvm.runtime.empty(spec.shape, spec.dtype) for spec in specs]
    for each in tensors:
        fill(each)
    return tensors
