"""The loops of Winograd's convolution, over portions of tiles whose transformed inputs stay in a cache.

For each portion: transform its inputs; then for some vectors of output channels at a time multiply at every
point, accumulating in registers, and transform what came out back while it is in the nearest cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, prod
from typing import Any

from network.isa import Isa
from network.kernels import emit
from network.kernels.conv2d_loops import AHEAD
from network.kernels.emit import Buffer, Expr, serial
from network.kernels.epilogue import finished
from network.kernels.padded_copy import padded_copy
from network.kernels.winograd import TRANSFORMS, WINDOW, Matrix, Winograd


def winograd(kernel: Winograd, isa: Isa, tile: tuple[int, ...]) -> Any:
    """The PrimFunc ``(x, *packed parameters, y)``."""
    names = ("x", *kernel.packed(isa), "y")
    return emit.function(names, kernel.arguments(isa), partial(_body, kernel, isa, tile))


def _body(
    kernel: Winograd,
    isa: Isa,
    tile: tuple[int, ...],
    *,
    x: Buffer,
    y: Buffer,
    weight: Buffer,
    bias: Buffer,
    scale: Buffer = None,
    floor: Buffer = None,
) -> None:
    source = padded_copy(kernel, isa, x, None, None)
    (together, _, blocks), count = tile, prod(kernel.grid)
    operations = kernel.work(isa).macs
    with emit.spread(isa.threads, ceil(count / together), operations) as portion:
        first = emit.bind(emit.minimum(portion * together, count - together))
        inputs = emit.workspace((kernel.points, together, kernel.channels), "float32")
        products = emit.workspace((kernel.points, together, blocks * isa.lanes), "float32")
        nest = _Portion(kernel, isa, tile, first, source, inputs, products, y)
        nest.transform_inputs()
        with serial(0, kernel.blocks(isa) // blocks) as outer:
            nest.multiply(weight, outer * blocks)
            nest.transform_outputs(outer * blocks, bias, scale, floor)


@dataclass(frozen=True, slots=True)
class _Portion:
    """Neighbouring tiles, from ``first`` on."""

    kernel: Winograd
    isa: Isa
    tile: tuple[int, ...]
    first: Expr
    source: Buffer
    inputs: Buffer
    """``(points, tiles, input channels)``."""
    products: Buffer
    """``(points, tiles, some output channels)``."""
    y: Buffer

    def _place(self, which: Expr) -> tuple[Expr, Expr]:
        """Row and column of a tile's first output."""
        (rows, columns, _), size = self.kernel.output_shape, self.kernel.size
        across = self.kernel.grid[1]
        index = emit.bind(self.first + which)
        top = emit.minimum(index // across * size, rows - size)
        return emit.bind(top), emit.bind(emit.minimum(index % across * size, columns - size))

    def transform_inputs(self) -> None:
        """Every tile's patch of the source, a vector of channels at a time."""
        with serial(0, self.tile[0]) as which:
            top, left = self._place(which)
            emit.each_vector(
                self.kernel.channels, self.isa.lanes, partial(self._transform_input, which, top, left)
            )

    def _transform_input(self, which: Expr, top: Expr, left: Expr, channel: Expr, lanes: int) -> None:
        reach, channels = self.kernel.size + WINDOW - 1, self.kernel.channels
        patch = [
            [
                emit.load(self.source, top + row, (left + column) * channels + channel, lanes=lanes)
                for column in range(reach)
            ]
            for row in range(reach)
        ]
        points = _on_both_sides(TRANSFORMS[self.kernel.size].inputs, patch, lanes)
        for index, value in enumerate(points):
            emit.store(self.inputs, value, index, which, channel, lanes=lanes)

    def multiply(self, weight: Buffer, block: Expr) -> None:
        """At every point a matrix product over the input channels, tiles by vectors of output channels."""
        together, tiles, blocks = self.tile
        lanes = self.isa.lanes
        with serial(0, self.kernel.points) as point, serial(0, together // tiles) as group:
            sums = emit.registers(tiles * blocks * lanes, "float32")
            for slot in range(tiles * blocks):
                emit.store(sums, emit.constant(0, "float32", lanes), slot * lanes, lanes=lanes)
            with serial(0, self.kernel.channels) as channel:
                for each in range(blocks):
                    emit.prefetch(weight, block + each, point, channel + AHEAD, 0)
                vectors = [
                    emit.bind(emit.load(weight, block + each, point, channel, 0, lanes=lanes))
                    for each in range(blocks)
                ]
                for which in range(tiles):
                    value = emit.bind(emit.load(self.inputs, point, group * tiles + which, channel))
                    for each, vector in enumerate(vectors):
                        at = (which * blocks + each) * lanes
                        total = emit.load(sums, at, lanes=lanes) + emit.splat(value, lanes) * vector
                        emit.store(sums, total, at, lanes=lanes)
            for slot in range(tiles * blocks):
                which, each = divmod(slot, blocks)
                value = emit.load(sums, slot * lanes, lanes=lanes)
                emit.store(self.products, value, point, group * tiles + which, each * lanes, lanes=lanes)

    def transform_outputs(self, block: Expr, bias: Buffer, scale: Buffer, floor: Buffer) -> None:
        """Every tile's outputs, finished; the last block of channels may be partial."""
        blocks, lanes, outputs = self.tile[2], self.isa.lanes, self.kernel.output_channels
        last = self.kernel.blocks(self.isa) - 1
        with serial(0, self.tile[0]) as which:
            place = self._place(which)
            for each in range(blocks):
                store = partial(self._transform_output, which, place, block, each, bias, scale, floor)
                if outputs % lanes and each == blocks - 1:
                    emit.when(
                        True if last + 1 == blocks else block + each == last,
                        partial(emit.each_vector, outputs % lanes, lanes, store),
                        partial(store, 0, lanes),
                    )
                else:
                    store(0, lanes)

    def _transform_output(
        self,
        which: Expr,
        place: tuple[Expr, Expr],
        block: Expr,
        each: int,
        bias: Buffer,
        scale: Buffer,
        floor: Buffer,
        at: Expr,
        lanes: int,
    ) -> None:
        kernel, size = self.kernel, self.kernel.size
        reach, first = size + WINDOW - 1, each * self.isa.lanes + at
        channel = block * self.isa.lanes + first
        points = [
            [
                emit.load(self.products, row * reach + column, which, first, lanes=lanes)
                for column in range(reach)
            ]
            for row in range(reach)
        ]
        outputs = _on_both_sides(TRANSFORMS[size].outputs, points, lanes)
        for index, value in enumerate(outputs):
            row, column = divmod(index, size)
            done = finished(
                value,
                channel,
                lanes,
                scale=scale,
                bias=bias,
                output_dtype=kernel.output_dtype,
                relu=kernel.relu,
                clip=kernel.clip,
                floor=floor,
            )
            target = (place[1] + column) * kernel.output_channels + channel
            emit.store(self.y, done, place[0] + row, target, lanes=lanes)


def _on_both_sides(matrix: Matrix, values: Sequence[Sequence[Expr]], lanes: int) -> list[Expr]:
    """``matrix @ values @ matrix.T``, row by row."""
    columns = [[emit.bind(each) for each in column] for column in zip(*values, strict=True)]
    halfway = [_times(matrix, column, lanes) for column in columns]
    return [each for row in zip(*halfway, strict=True) for each in _times(matrix, row, lanes)]


def _times(matrix: Matrix, vector: Sequence[Expr], lanes: int) -> list[Expr]:
    return [emit.bind(_combined(row, vector, lanes)) for row in matrix]


def _combined(factors: Sequence[float], terms: Sequence[Expr], lanes: int) -> Expr:
    """The sum of terms by factors, most of which are 0, 1 or -1."""
    ordered = sorted(zip(factors, terms, strict=True), key=lambda each: each[0] < 0)
    total = None
    for factor, term in ordered:
        if not factor:
            continue
        size = abs(factor)
        value = term if size == 1 else term * emit.constant(size, "float32", lanes)
        if total is None:
            total = value if factor > 0 else emit.constant(0, "float32", lanes) - value
        else:
            total = total + value if factor > 0 else total - value
    return total
