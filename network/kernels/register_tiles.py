"""Which register tiles of a convolution are worth measuring on a processor."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil

from network.isa import Isa

Tile = tuple[int, ...]
"""Output rows, output columns and vectors of output channels that are accumulated in registers at once; where
there are threads, also what they share (BY_ROWS, BY_BLOCKS, or nothing: ALONE)."""
ALONE, BY_ROWS, BY_BLOCKS = range(3)

_MEASURED = 5
"""Each costs a compilation and a measurement on every device class."""
_LATENCY = 4
"""Cycles until a multiply-add's result can be added to."""
_PORTS = 2
"""Multiply-adds, and loads, a cycle."""
_L1_BYTES = 32 * 1024
_STREAM_BYTES = 24
"""Bytes a cycle from beyond the first cache."""
_THREADS_CYCLES = 10_000
"""Starting threads, and waiting for the last of them."""
_TILE_CYCLES = 12
"""Entering and leaving a tile, beside one cycle an accumulator."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """The loop nest that a tile is chosen for."""

    rows: int
    columns: int
    blocks: int
    """Vectors of output channels."""
    steps: int
    """Multiply-adds into one accumulator."""
    vector_bytes: float
    """Weights that one step reads for one block."""
    scratch: int
    """Registers that one step needs beside accumulators and weights."""


def promising(isa: Isa, nest: Reduction) -> tuple[Tile, ...]:
    """At most five tiles, the fastest first by a model of ports, latency and weight traffic."""
    tiles: list[Tile] = list(_fitting(isa, nest))
    if isa.threads > 1:
        tiles = [(*tile, split) for tile in tiles for split in (ALONE, BY_ROWS, BY_BLOCKS)]
    ordered = sorted(tiles, key=lambda tile: (_cycles(nest, tile, isa.threads), tile))
    return tuple(ordered[:_MEASURED])


def _fitting(isa: Isa, nest: Reduction) -> list[tuple[int, int, int]]:
    divisors = [each for each in range(1, min(nest.blocks, 8) + 1) if nest.blocks % each == 0]
    rows = range(1, min(nest.rows, 4) + 1)
    columns = range(1, min(nest.columns, isa.registers) + 1)
    return [tile for tile in product(rows, columns, divisors) if _registers(nest, tile) <= isa.registers]


def _registers(nest: Reduction, tile: tuple[int, int, int]) -> int:
    rows, columns, blocks = tile
    return rows * columns * blocks + blocks + nest.scratch


def _cycles(nest: Reduction, tile: Tile, threads: int) -> float:
    """Cycles of the whole nest: columns and rows that do not divide are computed twice."""
    rows, columns, blocks, *split = tile
    accumulators = rows * columns * blocks
    strips, outers = ceil(nest.rows / rows), nest.blocks // blocks
    started = 0
    if split in ([BY_ROWS], [BY_BLOCKS]):
        started = _THREADS_CYCLES
        strips, outers = (
            (ceil(strips / threads), outers) if split == [BY_ROWS] else (strips, ceil(outers / threads))
        )
    tiles = strips * ceil(nest.columns / columns) * outers
    weight_bytes = nest.vector_bytes * blocks
    streamed = weight_bytes / _STREAM_BYTES if weight_bytes * nest.steps > _L1_BYTES else 0.0
    step = max(accumulators / _PORTS, (rows * columns + blocks) / _PORTS, _LATENCY, streamed)
    return started + tiles * (nest.steps * step + _TILE_CYCLES + accumulators)
