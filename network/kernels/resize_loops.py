"""The loops of ``Resize``: rows, columns, vectors of channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from network.isa import Isa
from network.kernels import emit
from network.kernels.emit import Buffer, Expr, each_vector, serial
from network.kernels.resize import Resize


def resize(kernel: Resize, isa: Isa) -> Any:
    """The PrimFunc ``(x, y)``."""
    return emit.function(("x", "y"), kernel.arguments(isa), partial(_body, kernel, isa))


def _body(kernel: Resize, isa: Isa, *, x: Buffer, y: Buffer) -> None:
    (height, width, channels), nearest = kernel.output_shape, kernel.mode == "nearest"
    vector = isa.lanes * (4 if nearest and kernel.dtype == "uint8" else 1)
    with emit.spread(isa.threads, height, kernel.elementwise) as row:
        down = _Between.of(kernel, 0, row)
        with serial(0, width) as column:
            right = _Between.of(kernel, 1, column)

            def compute(channel: Expr, lanes: int) -> None:
                value = (_nearest if nearest else _linear)(kernel, x, down, right, channel, lanes)
                emit.store(y, value, row, column * channels + channel, lanes=lanes)

            each_vector(channels, vector, compute)


@dataclass(frozen=True, slots=True)
class _Between:
    """A position along an axis: the index nearest to it, or the two around it and the second one's share."""

    first: Expr
    second: Expr
    share: Expr

    @classmethod
    def of(cls, kernel: Resize, axis: int, index: Expr) -> _Between:
        """Of output ``index``, held within the input."""
        last = kernel.input_shape[axis] - 1
        numerator, denominator = kernel.position(axis, index)
        held = emit.bind(emit.maximum(emit.minimum(numerator, last * denominator), 0))
        if kernel.mode == "nearest":
            chosen = emit.bind(kernel.rounded(held, denominator))
            return cls(chosen, chosen, None)
        first = emit.bind(held // denominator)
        rest = emit.cast(held - first * denominator, "float32")
        share = emit.bind(rest / emit.constant(denominator, "float32"))
        return cls(first, emit.bind(emit.minimum(first + 1, last)), share)


def _load(kernel: Resize, x: Buffer, row: Expr, column: Expr, channel: Expr, lanes: int) -> Expr:
    return emit.load(x, row, column * kernel.input_shape[2] + channel, lanes=lanes)


def _nearest(kernel: Resize, x: Buffer, down: _Between, right: _Between, channel: Expr, lanes: int) -> Expr:
    return _load(kernel, x, down.first, right.first, channel, lanes)


def _linear(kernel: Resize, x: Buffer, down: _Between, right: _Between, channel: Expr, lanes: int) -> Expr:
    rows = [_along(kernel, x, row, right, channel, lanes) for row in (down.first, down.second)]
    value = rows[0] + (rows[1] - rows[0]) * emit.splat(down.share, lanes)
    return emit.to_uint8(value, lanes) if kernel.dtype == "uint8" else value


def _along(kernel: Resize, x: Buffer, row: Expr, right: _Between, channel: Expr, lanes: int) -> Expr:
    """Between two neighbours of a row, as float32."""
    first, second = (
        emit.bind(emit.cast(_load(kernel, x, row, column, channel, lanes), "float32", lanes))
        for column in (right.first, right.second)
    )
    return emit.bind(first + (second - first) * emit.splat(right.share, lanes))
