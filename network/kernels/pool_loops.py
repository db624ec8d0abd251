"""The loops of pooling: rows, columns, vectors of channels, and inside them the window."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod

from network.isa import Isa
from network.kernels import emit
from network.kernels.emit import Buffer, Expr, each_vector, serial
from network.kernels.pool import Pool


def maximum(pool: Pool, isa: Isa, *, x: Buffer, y: Buffer) -> None:
    """Indices beyond the edge are moved onto it: the window holds that element anyway."""
    lanes = isa.lanes * (4 if pool.dtype == "uint8" else 1)

    def window(row: Expr, column: Expr, channel: Expr, lanes: int) -> Expr:
        value = None
        for down, right in product(range(pool.kernel[0]), range(pool.kernel[1])):
            at = (_inside(pool, 0, row, down), _inside(pool, 1, column, right))
            element = emit.load(x, at[0], at[1] * pool.input_shape[2] + channel, lanes=lanes)
            value = element if value is None else emit.maximum(value, element)
        return value

    _each_output(pool, lanes, isa.threads, y, window)


def _inside(pool: Pool, axis: int, position: Expr, offset: int) -> Expr:
    index = position * pool.stride[axis] + (offset - pool.padding[axis])
    if not pool.cut:
        return index
    return emit.maximum(emit.minimum(index, pool.input_shape[axis] - 1), 0)


def _each_output(
    pool: Pool, lanes: int, threads: int, y: Buffer, value: Callable[[Expr, Expr, Expr, int], Expr]
) -> None:
    height, width, channels = pool.output_shape
    with emit.spread(threads, height, pool.elementwise) as row, serial(0, width) as column:

        def store(channel: Expr, lanes: int) -> None:
            emit.store(y, value(row, column, channel, lanes), row, column * channels + channel, lanes=lanes)

        each_vector(channels, lanes, store)


def mean(pool: Pool, isa: Isa, *, x: Buffer, y: Buffer, zero_point: Buffer = None) -> None:
    """Sums are exact (int32 for uint8), and so is the rounding of the one division."""
    sums = "int32" if pool.dtype == "uint8" else "float32"

    def window(row: Expr, column: Expr, channel: Expr, lanes: int) -> Expr:
        held = emit.registers(lanes, sums)
        emit.store(held, emit.constant(0, sums, lanes), 0, lanes=lanes)
        (top, bottom), (left, right) = _bounds(pool, 0, row), _bounds(pool, 1, column)
        with serial(top, bottom) as i, serial(left, right) as j:
            element = emit.load(x, i, j * pool.input_shape[2] + channel, lanes=lanes)
            total = emit.load(held, 0, lanes=lanes) + emit.cast(element, sums, lanes)
            emit.store(held, total, 0, lanes=lanes)
        present = (bottom - top) * (right - left)
        total = emit.load(held, 0, lanes=lanes)
        return _divided(pool, total, present, zero_point, lanes)

    _each_output(pool, isa.lanes, isa.threads, y, window)


def _bounds(pool: Pool, axis: int, position: Expr) -> tuple[Expr, Expr]:
    start = position * pool.stride[axis] - pool.padding[axis]
    if not pool.cut:
        return start, start + pool.kernel[axis]
    return emit.maximum(start, 0), emit.minimum(start + pool.kernel[axis], pool.input_shape[axis])


def _divided(pool: Pool, total: Expr, present: Expr, zero_point: Buffer, lanes: int) -> Expr:
    count = prod(pool.kernel) if pool.count_include_pad else present
    if zero_point is not None:
        absent = prod(pool.kernel) - present
        total = total + emit.splat(absent * emit.cast(emit.load(zero_point, 0), "int32"), lanes)
    if pool.dtype == "float32":
        return total / emit.splat(emit.as_float(count), lanes)
    return emit.to_uint8(emit.cast(total, "float32", lanes) / emit.splat(emit.as_float(count), lanes), lanes)
