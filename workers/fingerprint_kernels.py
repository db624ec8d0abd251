"""The kernels that a fingerprint is taken with, compiled into one library for a device class.

A convolution whose operands stay in the first caches shows what the arithmetic units give, a buffer that no
cache holds what the memory gives, a function that stores one number what a call costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from network.build import prim_funcs, request_key, symbol
from network.isa import Isa
from network.kernels.conv2d import Conv2d
from network.layers import DType
from network.link import linker
from network.lowering import compiled
from network.target import Target
from network.variants import TensorSpec
from tracker.timing import ArgumentSpec
from workers.build import keep_to
from workers.reference import reference_kernel

LARGEST_BUFFER: Final = 256 << 20
SHARE_OF_MEMORY: Final = 8
"""A buffer takes at most one part of so many of a device's memory."""
DECAY: Final = 0.999
"""Below 1: numbers that grow beyond all bounds are slower on some processors."""

Purpose = Literal["float32", "int8", "bandwidth", "call"]


@dataclass(frozen=True, slots=True)
class Probe:
    """One function of the library, and what a second of it is worth."""

    purpose: Purpose
    symbol: str
    arguments: tuple[ArgumentSpec, ...]
    amount: float
    """Operations, or bytes moved, in one call; 0 for a call."""


@dataclass(frozen=True, slots=True)
class FingerprintLibrary:
    """As bytes: whoever drives the device may be another machine."""

    content: bytes
    probes: tuple[Probe, ...]
    """Several of a purpose are tiles of the same kernel: the fastest counts."""


def buffer_bytes(memory_bytes: int) -> int:
    """Of the buffer for a device with so much memory: a power of two, so that few libraries serve all."""
    return int(min(LARGEST_BUFFER, 1 << (memory_bytes // SHARE_OF_MEMORY).bit_length() - 1))


def build_fingerprint(target: Target, buffer: int, cores: Sequence[int]) -> FingerprintLibrary:
    """Compile for one thread with a buffer of so many bytes, on the given cores (none: wherever).

    Raises NetworkError where nothing here links for the target.
    """
    keep_to(cores)
    single = replace(target, threads=1)
    probes: list[Probe] = []
    functions: dict[str, Any] = {}
    purposes: dict[Purpose, DType] = {"float32": "float32", "int8": "uint8"}
    for purpose, dtype in purposes.items():
        found, those = _convolutions(purpose, reference_kernel(dtype), single.isa)
        functions |= found
        probes += those
    for probe, function in (_bandwidth(single.isa, buffer), _empty()):
        functions[probe.symbol] = function.with_attr("global_symbol", probe.symbol)
        probes.append(probe)
    return FingerprintLibrary(_linked(functions, single), tuple(probes))


def _linked(functions: dict[str, Any], target: Target) -> bytes:
    with TemporaryDirectory(prefix="blinknet-fingerprint-") as folder:
        path = Path(folder) / "fingerprint.so"
        compiled(functions, target).export_library(str(path), fcompile=linker(target.mtriple))
        return path.read_bytes()


def _convolutions(purpose: Purpose, kernel: Conv2d, isa: Isa) -> tuple[dict[str, Any], list[Probe]]:
    requests = {request_key(kernel, tile): (kernel, tile) for tile in kernel.tiles(isa)}
    functions, _ = prim_funcs(requests, isa)
    operations = 2.0 * kernel.work(isa).macs
    probes = [Probe(purpose, symbol(key), kernel.arguments(isa), operations) for key in functions]
    return {symbol(key): function for key, function in functions.items()}, probes


def _bandwidth(isa: Isa, buffer: int) -> tuple[Probe, Any]:
    """Each element of a buffer is read, changed and written back: nothing is moved that is not counted.

    The buffer is the function's own, so nothing crosses the network to fill it; its first call writes all.
    """
    from network.kernels import emit

    size = buffer // 4 // isa.lanes * isa.lanes
    result = TensorSpec((isa.lanes,), "float32")
    function = emit.function(("y",), (result,), partial(_scale_in_place, isa.lanes, size))
    return Probe("bandwidth", "fingerprint_bandwidth", (result,), 2.0 * 4 * size), function


def _scale_in_place(lanes: int, size: int, *, y: Any) -> None:
    from network.kernels import emit

    buffer = emit.workspace((size,), "float32")
    factor, term = (emit.constant(each, "float32", lanes) for each in (DECAY, 1 - DECAY))
    with emit.serial(0, size // lanes) as index:
        held = emit.load(buffer, index * lanes, lanes=lanes)
        emit.store(buffer, held * factor + term, index * lanes, lanes=lanes)
    emit.store(y, emit.load(buffer, 0, lanes=lanes), 0, lanes=lanes)


def _empty() -> tuple[Probe, Any]:
    from network.kernels import emit

    result = TensorSpec((1,), "float32")
    return Probe("call", "fingerprint_call", (result,), 0.0), emit.function(("y",), (result,), _nothing)


def _nothing(*, y: Any) -> None:
    from network.kernels import emit

    emit.store(y, emit.constant(0, "float32"), 0)
