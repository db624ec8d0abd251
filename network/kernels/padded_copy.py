"""The copy of its input that a convolution reads: padded, gathered and widened in one pass."""

from __future__ import annotations

from network.isa import Isa
from network.kernels import emit
from network.kernels.conv2d import Conv2d
from network.kernels.emit import Buffer, Expr, each_vector, serial


def padded_copy(kernel: Conv2d, isa: Isa, x: Buffer, zero_point: Buffer, index: Buffer) -> Buffer:
    """Emit the copy and give its buffer; the input itself where no copy is needed.

    ``zero_point`` and ``index`` are None where the kernel has no such parameter.
    """
    shape = kernel.copied(isa)
    if shape is None:
        return x
    copy = _Copy(kernel, isa, x, zero_point, index, *shape)
    copy.fill_rows(0, copy.top)
    with serial(0, copy.rows) as row:
        copy.fill(copy.top + row, 0, copy.left)
        copy.take(row)
        copy.fill(copy.top + row, copy.left + copy.run, shape[1])
    copy.fill_rows(copy.top + copy.rows, shape[0])
    return copy.buffer


class _Copy:
    """Where the input lies in the copy: ``rows`` rows of ``run`` elements from row ``top``, element ``left``."""

    def __init__(
        self, kernel: Conv2d, isa: Isa, x: Buffer, zero_point: Buffer, index: Buffer, height: int, width: int
    ) -> None:
        self.kernel, self.x, self.zero_point, self.index = kernel, x, zero_point, index
        self.dtype, self.width = kernel.copy_dtype(isa), width
        bits = 8 if self.dtype == "uint8" else 16 if self.dtype == "int16" else 32
        self.lanes = isa.lanes * 32 // bits
        self.top, self.left = kernel.padding[0], kernel.padding[1] * kernel.channels
        self.rows = max(0, min(kernel.input_shape[0], height - self.top))
        self.run = max(0, min(kernel.input_shape[1] * kernel.channels, width - self.left))
        self.buffer = emit.workspace((height, width), self.dtype)

    def fill_rows(self, start: int, stop: int) -> None:
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
