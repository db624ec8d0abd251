"""Which register tiles of a convolution are worth measuring on a processor."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil

from network.isa import Isa

Tile = tuple[int, int, int]
"""Output rows, output columns and vectors of output channels that are accumulated in registers at once."""

_MEASURED = 5
"""Each costs a compilation and a measurement on every device class."""
_LATENCY = 4
"""Cycles until a multiply-add's result can be added to."""
_PORTS = 2
"""Multiply-adds, and loads, a cycle."""
_L1_BYTES = 32 * 1024
_STREAM_BYTES = 24
"""Bytes a cycle from beyond the first cache."""
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
    vector_bytes: int
    """Weights that one step reads for one block."""
    scratch: int
    """Registers that one step needs beside accumulators and weights."""


def promising(isa: Isa, nest: Reduction) -> tuple[Tile, ...]:
    """At most five tiles, the fastest first by a model of ports, latency and weight traffic."""
    ordered = sorted(_fitting(isa, nest), key=lambda tile: (_cycles(nest, tile), tile))
    return tuple(ordered[:_MEASURED])


def _fitting(isa: Isa, nest: Reduction) -> list[Tile]:
    divisors = [each for each in range(1, min(nest.blocks, 8) + 1) if nest.blocks % each == 0]
    rows = range(1, min(nest.rows, 4) + 1)
    columns = range(1, min(nest.columns, isa.registers) + 1)
    return [tile for tile in product(rows, columns, divisors) if _registers(nest, tile) <= isa.registers]


def _registers(nest: Reduction, tile: Tile) -> int:
    rows, columns, blocks = tile
    return rows * columns * blocks + blocks + nest.scratch


def _cycles(nest: Reduction, tile: Tile) -> float:
    """Cycles of the whole nest: columns and rows that do not divide are computed twice."""
    rows, columns, blocks = tile
    accumulators = rows * columns * blocks
    tiles = ceil(nest.rows / rows) * ceil(nest.columns / columns) * (nest.blocks / blocks)
    weight_bytes = nest.vector_bytes * blocks
    streamed = weight_bytes / _STREAM_BYTES if weight_bytes * nest.steps > _L1_BYTES else 0.0
    step = max(accumulators / _PORTS, (rows * columns + blocks) / _PORTS, _LATENCY, streamed)
    return tiles * (nest.steps * step + _TILE_CYCLES + accumulators)
