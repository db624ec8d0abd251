"""The loops of a depthwise convolution: rows, vectors of channels, and tiles of columns in registers.

Nothing is padded: rows beyond the input are left out by the bounds of the loop over the window's rows, and
the tiles at the left and right edge are unrolled apart, so that it is known which elements there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from network.isa import Isa
from network.kernels import emit
from network.kernels.depthwise import Depthwise
from network.kernels.emit import Buffer, Expr, serial
from network.kernels.epilogue import finished


def depthwise(kernel: Depthwise, isa: Isa, tile: tuple[int, ...]) -> Any:
    """The PrimFunc ``(x, *packed parameters, y)``."""
    names = ("x", *kernel.parameters(), "y")
    return emit.function(names, kernel.arguments(isa), partial(_body, kernel, isa, tile))


def _body(
    kernel: Depthwise,
    isa: Isa,
    tile: tuple[int, ...],
    *,
    x: Buffer,
    y: Buffer,
    weight: Buffer,
    bias: Buffer,
    scale: Buffer = None,
    zero_point: Buffer = None,
    floor: Buffer = None,
) -> None:
    (rows, _, channels), (columns, blocks) = kernel.output_shape, tile
    with emit.spread(isa.threads, rows, kernel.work(isa).macs) as row:

        def strip(channel: Expr, lanes: int) -> None:
            span = _Rows.of(kernel, row)
            emit_tile = partial(
                _tile, kernel, span, channel, lanes, x, y, weight, bias, scale, zero_point, floor
            )
            _along_columns(kernel, columns, emit_tile)

        emit.each_vector(channels, isa.lanes * blocks, strip)


@dataclass(frozen=True, slots=True)
class _Rows:
    """An output row, the input row where its windows start, and which of a window's rows the input has."""

    row: Expr
    top: Expr
    first: Expr
    last: Expr
    cut: bool
    """Whether any window reaches beyond the input."""

    @classmethod
    def of(cls, kernel: Depthwise, row: Expr) -> _Rows:
        """Of the windows of an output row."""
        (above, _, below, _), size, step = kernel.padding, kernel.kernel[0], kernel.dilation[0]
        top = emit.bind(row * kernel.stride[0] - above)
        if not (above or below):
            return cls(row, top, 0, size, cut=False)
        first = emit.minimum((emit.maximum(-top, 0) + (step - 1)) // step, size)
        last = emit.minimum((emit.maximum(kernel.input_shape[0] - top, 0) + (step - 1)) // step, size)
        return cls(row, top, emit.bind(first), emit.bind(last), cut=True)


def _along_columns(kernel: Depthwise, columns: int, tile: Callable[[Expr, int], None]) -> None:
    """Emit ``tile(first column, columns)``: one by one at the edges, in a loop between them.

    The first column is an int exactly where elements may be missing.
    """
    width, left = kernel.output_shape[1], kernel.padding[1]
    stride, extent = kernel.stride[1], kernel.convolution.extent[1]
    whole = (kernel.input_shape[1] + left - extent) // stride + 1  # Columns beyond are cut at the right.
    start = min(width, -(-left // stride))
    start = min(width, -(-start // columns) * columns)
    inner = max(0, (whole - start) // columns)
    for column in range(0, start, columns):
        tile(column, min(columns, start - column))
    if inner:
        with serial(0, inner) as index:
            tile(start + index * columns, columns)
    for column in range(start + inner * columns, width, columns):
        tile(column, min(columns, width - column))


def _tile(
    kernel: Depthwise,
    rows: _Rows,
    channel: Expr,
    lanes: int,
    x: Buffer,
    y: Buffer,
    weight: Buffer,
    bias: Buffer,
    scale: Buffer,
    zero_point: Buffer,
    floor: Buffer,
    left: Expr,
    columns: int,
) -> None:
    nest = _Tile(kernel, rows, channel, lanes, left, columns, emit.registers(columns * lanes, "float32"), x)
    for column in range(columns):
        emit.store(nest.sums, emit.constant(0, "float32", lanes), column * lanes, lanes=lanes)
    with serial(rows.first, rows.last) as window_row:
        nest.accumulate(window_row, weight, zero_point)
    if zero_point is not None and rows.cut:
        for start, stop in ((0, rows.first), (rows.last, kernel.kernel[0])):
            with serial(start, stop) as window_row:
                nest.accumulate_padding(window_row, weight, zero_point)
    nest.finish(y, bias, scale, floor)


@dataclass(frozen=True, slots=True)
class _Tile:
    """Neighbouring columns of a row, and ``lanes`` of their channels."""

    kernel: Depthwise
    rows: _Rows
    channel: Expr
    lanes: int
    left: Expr
    columns: int
    sums: Buffer
    x: Buffer

    def accumulate(self, window_row: Expr, weight: Buffer, zero_point: Buffer) -> None:
        """Add one row of the window, each element of the input loaded once."""
        loaded: dict[int, Expr] = {}
        for tap in range(self.kernel.kernel[1]):
            taps = self._weights(weight, window_row, tap)
            for column in range(self.columns):
                offset = column * self.kernel.stride[1] + tap * self.kernel.dilation[1]
                if self._there(offset):
                    if offset not in loaded:
                        loaded[offset] = emit.bind(self._element(window_row, offset))
                    self._add(column, loaded[offset], taps)
                elif zero_point is not None:
                    self._add(column, self._zero(zero_point), taps)

    def accumulate_padding(self, window_row: Expr, weight: Buffer, zero_point: Buffer) -> None:
        """Add one row of the window that lies beyond the input."""
        zero = emit.bind(self._zero(zero_point))
        for tap in range(self.kernel.kernel[1]):
            taps = self._weights(weight, window_row, tap)
            for column in range(self.columns):
                self._add(column, zero, taps)

    def _weights(self, weight: Buffer, window_row: Expr, tap: int) -> Expr:
        line = window_row * self.kernel.kernel[1] + tap
        return emit.bind(self._as_float(emit.load(weight, line, self.channel, lanes=self.lanes)))

    def _there(self, offset: int) -> bool:
        """Whether an element is in the input; all are, unless the first column is known."""
        if not isinstance(self.left, int):
            return True
        return 0 <= self._column(offset) < self.kernel.input_shape[1]

    def _column(self, offset: int) -> Expr:
        return self.left * self.kernel.stride[1] + (offset - self.kernel.padding[1])

    def _element(self, window_row: Expr, offset: int) -> Expr:
        row = self.rows.top + window_row * self.kernel.dilation[0]
        at = self._column(offset) * self.kernel.input_shape[2] + self.channel
        return self._as_float(emit.load(self.x, row, at, lanes=self.lanes))

    def _zero(self, zero_point: Buffer) -> Expr:
        return emit.splat(emit.cast(emit.load(zero_point, 0), "float32"), self.lanes)

    def _as_float(self, value: Expr) -> Expr:
        return emit.cast(value, "float32", self.lanes) if self.kernel.integer else value

    def _add(self, column: int, element: Expr, taps: Expr) -> None:
        at = column * self.lanes
        total = emit.load(self.sums, at, lanes=self.lanes) + element * taps
        emit.store(self.sums, total, at, lanes=self.lanes)

    def finish(self, y: Buffer, bias: Buffer, scale: Buffer, floor: Buffer) -> None:
        """Store every column."""
        kernel = self.kernel
        for column in range(self.columns):
            value = finished(
                emit.load(self.sums, column * self.lanes, lanes=self.lanes),
                self.channel,
                self.lanes,
                scale=scale,
                bias=bias,
                output_dtype=kernel.output_dtype,
                relu=kernel.relu,
                clip=kernel.clip,
                floor=floor,
            )
            at = (self.left + column) * kernel.input_shape[2] + self.channel
            emit.store(y, value, self.rows.row, at, lanes=self.lanes)
