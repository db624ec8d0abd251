"""The loops of a convolution: a tile of outputs is accumulated in registers, then finished and stored.

Around the tile: blocks of output channels, rows, columns. Inside: the window's rows, and along a row of it
``kernel width * channels`` neighbours in memory as one loop, so that any number of channels fills the groups.
Tiles that would reach beyond the last row or column are moved back and compute some outputs twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from typing import Any

from network.isa import Isa
from network.isas import dot
from network.kernels import emit
from network.kernels.conv2d import Conv2d
from network.kernels.emit import Buffer, Expr, serial
from network.kernels.padded_copy import padded_copy


def conv2d(kernel: Conv2d, isa: Isa, tile: tuple[int, ...]) -> Any:
    """The PrimFunc ``(x, *packed parameters, y)``."""
    names = ("x", *kernel.parameters(), "y")
    return emit.function(names, kernel.arguments(isa), partial(_body, kernel, isa, tile))


def _body(
    kernel: Conv2d,
    isa: Isa,
    tile: tuple[int, ...],
    *,
    x: Buffer,
    y: Buffer,
    weight: Buffer,
    bias: Buffer,
    scale: Buffer = None,
    zero_point: Buffer = None,
    index: Buffer = None,
) -> None:
    source = padded_copy(kernel, isa, x, zero_point, index)
    (height, width, _), (rows, columns, blocks) = kernel.output_shape, tile
    with (
        serial(0, kernel.blocks(isa) // blocks) as outer,
        serial(0, -(-height // rows)) as i,
        serial(0, -(-width // columns)) as j,
    ):
        sums = emit.registers(prod(tile) * isa.lanes, "int32" if kernel.integer else "float32")
        top, left = _start(i, rows, height), _start(j, columns, width)
        first = (outer * blocks, top, left)
        nest = _Tile(kernel, isa, (rows, columns, blocks), *first, sums, y, bias, scale)
        nest.clear()
        nest.accumulate(source, weight)
        nest.finish()


def _start(index: Expr, size: int, extent: int) -> Expr:
    return index * size if extent % size == 0 else emit.minimum(index * size, extent - size)


@dataclass(frozen=True, slots=True)
class _Tile:
    """One tile: its first block, row and column, its accumulators, and what finishes them."""

    kernel: Conv2d
    isa: Isa
    size: tuple[int, int, int]
    block: Expr
    top: Expr
    left: Expr
    sums: Buffer
    y: Buffer
    bias: Buffer
    scale: Buffer

    def _pixels(self) -> Iterator[tuple[int, int]]:
        return product(range(self.size[0]), range(self.size[1]))

    def _slot(self, row: int, column: int, block: int) -> int:
        """Where an accumulator's lanes start."""
        return ((row * self.size[1] + column) * self.size[2] + block) * self.isa.lanes

    def clear(self) -> None:
        """Set the accumulators to zero."""
        lanes = self.isa.lanes
        zero = emit.constant(0, "int32" if self.kernel.integer else "float32", lanes)
        for slot in range(0, prod(self.size) * lanes, lanes):
            emit.store(self.sums, zero, slot, lanes=lanes)

    def accumulate(self, source: Buffer, weight: Buffer) -> None:
        """Add the window's products: a step loads each weight and each activation once."""
        with serial(0, self.kernel.kernel[0]) as window_row, serial(0, self.kernel.steps(self.isa)) as step:
            lanes = self.isa.lanes * self.kernel.group(self.isa)
            weights = [
                emit.bind(emit.load(weight, self.block + block, window_row, step, 0, lanes=lanes))
                for block in range(self.size[2])
            ]
            for row, column in self._pixels():
                activation = emit.bind(self._activation(source, row, column, window_row, step))
                for block, vector in enumerate(weights):
                    self._add(self._slot(row, column, block), activation, vector)

    def _activation(self, source: Buffer, row: int, column: int, window_row: Expr, step: Expr) -> Expr:
        """One float, or one group of integers as int32."""
        (down, right), group = self.kernel.stride, self.kernel.group(self.isa)
        first = (self.left + column) * (right * self.kernel.channels) + step * group
        value = emit.load(source, (self.top + row) * down + window_row, first, lanes=group)
        return emit.reinterpret(value, "int32") if self.kernel.integer else value

    def _add(self, slot: int, activation: Expr, weights: Expr) -> None:
        lanes = self.isa.lanes
        held = emit.load(self.sums, slot, lanes=lanes)
        if self.kernel.integer:
            total = dot(self.isa, held, activation, weights)
        else:
            total = held + emit.splat(activation, lanes) * weights
        emit.store(self.sums, total, slot, lanes=lanes)

    def finish(self) -> None:
        """Store every pixel's channels; the last block may be partial."""
        partial_block = self.kernel.output_channels % self.isa.lanes
        last = self.kernel.blocks(self.isa) - 1
        for (row, column), block in product(self._pixels(), range(self.size[2])):
            store = partial(self._store, row, column, block)
            if partial_block and block == self.size[2] - 1:
                emit.when(
                    self._is(block, last),
                    partial(emit.each_vector, partial_block, self.isa.lanes, store),
                    partial(store, 0, self.isa.lanes),
                )
            else:
                store(0, self.isa.lanes)

    def _is(self, block: int, last: int) -> Expr:
        only = last + 1 == self.size[2]
        return True if only else self.block + block == last

    def _store(self, row: int, column: int, block: int, at: Expr, lanes: int) -> None:
        channel = (self.block + block) * self.isa.lanes + at
        value = emit.load(self.sums, self._slot(row, column, block) + at, lanes=lanes)
        value = self._finished(value, channel, lanes)
        target = (self.left + column) * self.kernel.output_channels + channel
        emit.store(self.y, value, self.top + row, target, lanes=lanes)

    def _finished(self, value: Expr, channel: Expr, lanes: int) -> Expr:
        """Scale, bias, and clamp or relu."""
        kernel = self.kernel
        if kernel.integer:
            value = emit.cast(value, "float32", lanes)
        if kernel.scaled:
            value = value * emit.load(self.scale, channel, lanes=lanes)
        value = value + emit.load(self.bias, channel, lanes=lanes)
        if kernel.output_dtype == "uint8":
            return emit.to_uint8(value, lanes)
        return emit.relu(value, "float32", lanes) if kernel.relu else value
