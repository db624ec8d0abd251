"""The loops of a convolution: a tile of outputs is accumulated in registers, then finished and stored.

Around the tile: blocks of output channels, rows, columns. Inside: the window's rows, and along a row of it
``kernel width * channels`` neighbours in memory as one loop, so that any number of channels fills the groups;
only dilated and grouped windows go column by column.
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
from network.isas import dot, sums
from network.kernels import emit
from network.kernels.conv2d import Conv2d
from network.kernels.emit import Buffer, Expr, serial
from network.kernels.epilogue import finished
from network.kernels.padded_copy import padded_copy
from network.kernels.register_tiles import BY_BLOCKS, BY_ROWS
from network.kernels.storage import Decoder


def conv2d(kernel: Conv2d, isa: Isa, tile: tuple[int, ...]) -> Any:
    """The PrimFunc ``(x, *packed parameters, y)``."""
    names = ("x", *kernel.packed(isa), "y")
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
    offset: Buffer = None,
    floor: Buffer = None,
) -> None:
    source = padded_copy(kernel, isa, x, zero_point, index)
    convolve(kernel, isa, tile, Place(), source, y, weight, bias, scale, offset, floor)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its source a convolution's first window starts, and which pixels of ``y`` it writes."""

    read: tuple[int, int] = (0, 0)
    """Row and column."""
    start: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)


def convolve(
    kernel: Conv2d,
    isa: Isa,
    tile: tuple[int, ...],
    place: Place,
    source: Buffer,
    y: Buffer,
    weight: Buffer,
    bias: Buffer,
    scale: Buffer,
    offset: Buffer,
    floor: Buffer,
) -> None:
    """Emit the loops over a source that is padded already."""
    (height, width, _), (rows, columns, blocks, *split) = kernel.output_shape, tile
    by_rows, by_blocks = (isa.threads if split == [axis] else 1 for axis in (BY_ROWS, BY_BLOCKS))
    with (
        emit.repeat(kernel.groups) as group,
        emit.shared(by_blocks, kernel.blocks(isa) // blocks) as outers,
        emit.shared(by_rows, -(-height // rows)) as strips,
        serial(*outers) as outer,
        serial(*strips) as i,
        serial(0, -(-width // columns)) as j,
    ):
        held = emit.registers(rows * columns * blocks * isa.lanes, "int32" if kernel.integer else "float32")
        top, left = _start(i, rows, height), _start(j, columns, width)
        first = (group, outer * blocks, top, left)
        nest = _Tile(kernel, isa, (rows, columns, blocks), place, *first, held, y, bias, scale, offset, floor)
        nest.clear()
        nest.accumulate(source, weight)
        if kernel.integer:
            nest.settle()
        nest.finish()


CACHED_BYTES = 128 << 10
"""Weights that are no more than this stay near enough by themselves."""
AHEAD = 16
"""Steps: how far the processor's own prefetching may be behind, mostly where a page ends."""


def _start(index: Expr, size: int, extent: int) -> Expr:
    return index * size if extent % size == 0 else emit.minimum(index * size, extent - size)


@dataclass(frozen=True, slots=True)
class _Tile:
    """One tile: its group, first block, row and column, its accumulators, and what finishes them."""

    kernel: Conv2d
    isa: Isa
    size: tuple[int, int, int]
    place: Place
    group: Expr
    block: Expr
    top: Expr
    left: Expr
    sums: Buffer
    y: Buffer
    bias: Buffer
    scale: Buffer
    offset: Buffer
    floor: Buffer

    def _pixels(self) -> Iterator[tuple[int, int]]:
        return product(range(self.size[0]), range(self.size[1]))

    def _slot(self, row: int, column: int, block: int) -> int:
        """Where an accumulator's lanes start."""
        return ((row * self.size[1] + column) * self.size[2] + block) * self.isa.lanes

    def clear(self) -> None:
        """Set the accumulators to zero, or to what they start from."""
        first = [self._first(block) for block in range(self.size[2])]
        for (row, column), block in product(self._pixels(), range(self.size[2])):
            emit.store(self.sums, first[block], self._slot(row, column, block), lanes=self.isa.lanes)

    def _first(self, block: int) -> Expr:
        lanes = self.isa.lanes
        if self.offset is None:
            return emit.constant(0, "int32" if self.kernel.integer else "float32", lanes)
        index = self.group * self.kernel.blocks(self.isa) + (self.block + block)
        return emit.bind(emit.load(self.offset, index * lanes, lanes=lanes))

    def accumulate(self, source: Buffer, weight: Buffer) -> None:
        """Add the window's products: a step loads each weight and each activation once."""
        runs, steps = self.kernel.runs[0], self.kernel.steps(self.isa)
        with (
            serial(0, self.kernel.kernel[0]) as window_row,
            emit.repeat(runs) as run,
            serial(0, steps) as step,
        ):
            weights = [
                emit.bind(self._weights(weight, block, window_row * runs + run, step))
                for block in range(self.size[2])
            ]
            for row, column in self._pixels():
                activation = emit.bind(self._activation(source, (row, column), (window_row, run), step))
                for block, vector in enumerate(weights):
                    self._add(self._slot(row, column, block), activation, vector)

    def _weights(self, weight: Buffer, block: int, line: Expr, step: Expr) -> Expr:
        kernel, isa = self.kernel, self.isa
        lanes = isa.lanes * kernel.group(isa)
        index = self.group * kernel.blocks(isa) + (self.block + block)
        if kernel.storage:
            decoder = Decoder(kernel.storage, kernel.steps(isa), lanes)
            return decoder.load(weight, index, line, step)
        if kernel.packed(isa)["weight"].nbytes > CACHED_BYTES:
            emit.prefetch(weight, index, line, step + AHEAD, 0)
        return emit.load(weight, index, line, step, 0, lanes=lanes)

    def _activation(
        self, source: Buffer, pixel: tuple[int, int], window: tuple[Expr, Expr], step: Expr
    ) -> Expr:
        """One float, one integer as int32, or one group of integers in the bits of an int32."""
        kernel, (down, right), group = self.kernel, self.kernel.stride, self.kernel.group(self.isa)
        row = (self.top + pixel[0]) * down + window[0] * kernel.dilation[0] + self.place.read[0]
        first = (self.left + pixel[1]) * (right * kernel.channels) + step * group
        run = (window[1] * kernel.dilation[1] + self.place.read[1]) * kernel.channels
        first = first + (run + self.group * (kernel.channels // kernel.groups))
        if kernel.shear[0]:
            first = first + (self.top + pixel[0]) % kernel.shear[1] * (kernel.shear[0] * kernel.channels)
        value = emit.load(source, row, first, lanes=group)
        if not kernel.integer:
            return value
        return emit.cast(value, "int32") if group == 1 else emit.reinterpret(value, "int32")

    def _add(self, slot: int, activation: Expr, weights: Expr) -> None:
        lanes = self.isa.lanes
        held = emit.load(self.sums, slot, lanes=lanes)
        if self.kernel.integer:
            total = dot(self.isa, held, activation, weights)
        else:
            total = held + emit.splat(activation, lanes) * weights
        emit.store(self.sums, total, slot, lanes=lanes)

    def settle(self) -> None:
        """Bring integer accumulators into the form of plain sums."""
        lanes = self.isa.lanes
        for slot in range(0, prod(self.size) * lanes, lanes):
            emit.store(self.sums, sums(self.isa, emit.load(self.sums, slot, lanes=lanes)), slot, lanes=lanes)

    def finish(self) -> None:
        """Store every pixel's channels; the last block may be partial."""
        partial_block = self.kernel.output_channels // self.kernel.groups % self.isa.lanes
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
        kernel, (down, right), start = self.kernel, self.place.step, self.place.start
        first = self.group * (kernel.output_channels // kernel.groups)
        channel = first + ((self.block + block) * self.isa.lanes + at)
        value = emit.load(self.sums, self._slot(row, column, block) + at, lanes=lanes)
        value = self._finished(value, channel, lanes)
        target = ((self.left + column) * right + start[1]) * kernel.output_channels + channel
        emit.store(self.y, value, (self.top + row) * down + start[0], target, lanes=lanes)

    def _finished(self, value: Expr, channel: Expr, lanes: int) -> Expr:
        kernel = self.kernel
        return finished(
            emit.cast(value, "float32", lanes) if kernel.integer else value,
            channel,
            lanes,
            scale=self.scale,
            bias=self.bias,
            output_dtype=kernel.output_dtype,
            relu=kernel.relu,
            clip=kernel.clip,
            floor=self.floor,
        )
