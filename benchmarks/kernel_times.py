"""Kernels timed alone, each in a loop without Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import tvm

from benchmarks.interleave import Block
from network.build import build_library
from network.errors import NetworkError
from network.target import Target
from network.variants import Kernel, TensorSpec

RUNS, REPEATS = 3, 9


def kernel_blocks(
    kernels: Mapping[str, tuple[Kernel, tuple[int, ...]]], target: Target, path: Path
) -> dict[str, Block]:
    """Compile kernels with their tiles, by request, into one library; gives what times each.

    Raises NetworkError when one does not compile.
    """
    built = build_library(list(kernels.values()), target, path)
    for request, reason in built.failures.items():
        raise NetworkError(f"kernel {request} does not compile: {reason}")
    library = tvm.runtime.load_module(str(built.path))
    return {
        request: _block(library, symbol, kernels[request][0].arguments(target.isa))
        for request, symbol in built.symbols.items()
    }


def median_times(blocks: Mapping[str, Block]) -> dict[str, float]:
    """Seconds of each kernel, every one timed in turn, so often that half of it may go wrong."""
    seconds: dict[str, list[float]] = {request: [] for request in blocks}
    for _ in range(REPEATS):
        for request, run in blocks.items():
            seconds[request].append(run(RUNS))
    return {request: median(values) for request, values in seconds.items()}


def _block(library: tvm.runtime.Module, symbol: str, specs: Sequence[TensorSpec]) -> Block:
    # Memory that nobody has written to reads faster than it ever will again.
    fill: Callable[..., None] = tvm.get_global_func("tvm.contrib.random.random_fill")
    arguments = [tvm.runtime.empty(spec.shape, spec.dtype) for spec in specs]
    for each in arguments:
        fill(each)

    def seconds(runs: int) -> float:
        timed = library.time_evaluator(symbol, tvm.cpu(0), number=runs)
        return float(timed(*arguments).mean)

    return seconds
