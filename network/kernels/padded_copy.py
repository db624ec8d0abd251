"""The copy of its input that a convolution reads: padded, gathered and widened in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from network.isa import Isa
from network.kernels import emit
from network.kernels.emit import Buffer, Expr, each_vector, serial
from network.layers import DType, Shape


class Padded(Protocol):
    """What a kernel says of the copy that it reads."""

    @property
    def input_shape(self) -> Shape: ...  # noqa: D102
    @property
    def input_dtype(self) -> DType: ...  # noqa: D102
    @property
    def channels(self) -> int:
        """Of the copy."""

    @property
    def selected(self) -> int:
        """How many channels are gathered; 0 takes all."""

    @property
    def margin(self) -> tuple[int, int]:
        """Rows of padding above the input, and columns to its left."""

    def copied(self, isa: Isa) -> tuple[int, int] | None:
        """Rows and elements a row of the copy, if one is needed."""

    def copy_dtype(self, isa: Isa) -> str:
        """Element type of the copy."""


def padded_copy(kernel: Padded, isa: Isa, x: Buffer, zero_point: Buffer, index: Buffer) -> Buffer:
    """Emit the copy and give its buffer; the input itself where no copy is needed.

    ``zero_point`` and ``index`` are None where the kernel has no such parameter.
    """
    shape = kernel.copied(isa)
    if shape is None:
        return x
    buffer = emit.workspace(shape, kernel.copy_dtype(isa))
    copy = _Copy(kernel, isa, x, zero_point, index, buffer)
    copy.fill_rows(0, copy.top)
    with emit.spread(isa.threads, copy.rows, copy.rows * copy.width) as row:
        copy.fill(copy.top + row, 0, copy.left)
        copy.take(row)
        copy.fill(copy.top + row, copy.left + copy.run, copy.width)
    copy.fill_rows(copy.top + copy.rows, shape[0])
    return buffer


@dataclass(frozen=True, slots=True)
class _Copy:
    """Where the input lies in the copy: ``rows`` rows of ``run`` elements, from ``top`` and ``left`` on."""

    kernel: Padded
    isa: Isa
    x: Buffer
    zero_point: Buffer
    index: Buffer
    buffer: Buffer

    @property
    def dtype(self) -> str:
        """Element type of the copy."""
        return self.kernel.copy_dtype(self.isa)

    @property
    def lanes(self) -> int:
        """Elements of the copy in a register."""
        return self.isa.lanes * 4 // np.dtype(self.dtype).itemsize

    @property
    def width(self) -> int:
        """Elements in a row of the copy."""
        return int(self.buffer.shape[1])

    @property
    def top(self) -> int:
        """Rows of padding before the input."""
        return self.kernel.margin[0]

    @property
    def left(self) -> int:
        """Elements of padding before the input."""
        return self.kernel.margin[1] * self.kernel.channels

    @property
    def rows(self) -> int:
        """Rows of the input that any window reads."""
        return max(0, min(self.kernel.input_shape[0], int(self.buffer.shape[0]) - self.top))

    @property
    def run(self) -> int:
        """Elements of an input row that any window reads."""
        return max(0, min(self.kernel.input_shape[1] * self.kernel.channels, self.width - self.left))

    def fill_rows(self, start: int, stop: int) -> None:
        """Whole rows of padding."""
        if stop > start:
            with serial(start, stop) as row:
                self.fill(row, 0, self.width)

    def fill(self, row: Expr, start: int, stop: int) -> None:
        """Padding: the value that stands for zero."""
        each_vector(
            max(0, stop - start),
            self.lanes,
            lambda at, lanes: emit.store(self.buffer, self._zero(lanes), row, at + start, lanes=lanes),
        )

    def _zero(self, lanes: int) -> Expr:
        if self.zero_point is None:
            return emit.constant(0, self.dtype, lanes)
        return emit.splat(self._widened(emit.load(self.zero_point, emit.constant(0, "int32")), 1), lanes)

    def _widened(self, value: Expr, lanes: int) -> Expr:
        if self.dtype == "int8":
            return emit.to_int8(value, lanes)
        return value if self.dtype == self.kernel.input_dtype else emit.cast(value, self.dtype, lanes)

    def take(self, row: Expr) -> None:
        """One row of the input."""
        if self.index is None:
            each_vector(self.run, self.lanes, lambda at, lanes: self._move(row, at, at, lanes))
            return
        taken, channels = self.kernel.selected, self.kernel.input_shape[2]
        with serial(0, self.run // taken) as column, serial(0, taken) as which:
            source = column * channels + emit.load(self.index, which)
            self._move(row, source, column * taken + which, 1)

    def _move(self, row: Expr, source: Expr, target: Expr, lanes: int) -> None:
        value = self._widened(emit.load(self.x, row, source, lanes=lanes), lanes)
        emit.store(self.buffer, value, self.top + row, self.left + target, lanes=lanes)
