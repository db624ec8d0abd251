"""The loops of ``Expand``: phases, then blocks, then vectors of channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from network.isa import Isa
from network.kernels import emit
from network.kernels.emit import Buffer, Expr, each_vector, serial
from network.kernels.expand import Expand


def expand(kernel: Expand, isa: Isa) -> Any:
    """The PrimFunc ``(x, coefficients, y)``."""
    return emit.function(("x", "coefficients", "y"), kernel.arguments(isa), partial(_body, kernel, isa))


def _body(kernel: Expand, isa: Isa, *, x: Buffer, coefficients: Buffer, y: Buffer) -> None:
    """Each phase has loops of its own, over exactly the blocks that have an output in it."""
    height, width, channels = kernel.output_shape
    for down, right in product(range(min(kernel.rows, height)), range(min(kernel.cols, width))):
        rows = -(-(height - down) // kernel.rows)
        columns = -(-(width - right) // kernel.cols)
        operations = 4 * rows * columns * channels
        with emit.spread(isa.threads, rows, operations) as i, serial(0, columns) as j:
            point = _Point(kernel, x, coefficients, y, i, j, down, right)
            each_vector(channels, isa.lanes, point.emit)


@dataclass(frozen=True, slots=True)
class _Point:
    """One output pixel: block ``(i, j)`` and the phase's offset from its first pixel."""

    kernel: Expand
    x: Buffer
    coefficients: Buffer
    y: Buffer
    i: Expr
    j: Expr
    down: int
    right: int

    def emit(self, channel: Expr, lanes: int) -> None:
        sources = self.kernel.pattern.sources(self.down, self.right)
        copies = len(sources) == 1
        value = self._source(*sources[0], channel, lanes) if copies else self._estimate(channel, lanes)
        column = self.j * self.kernel.cols + self.right
        at = column * self.kernel.output_shape[2] + channel
        emit.store(self.y, value, self.i * self.kernel.rows + self.down, at, lanes=lanes)

    def _source(self, below: int, beside: int, channel: Expr, lanes: int) -> Expr:
        grid_rows, grid_columns, channels = self.kernel.grid_shape
        row = _clamped(self.i * self.kernel.pattern.grid_rows, below, grid_rows)
        column = _clamped(self.j, beside, grid_columns)
        return emit.load(self.x, row, column * channels + channel, lanes=lanes)

    def _coefficient(self, which: int, channel: Expr, lanes: int) -> Expr:
        phase = self.down * self.kernel.cols + self.right
        return emit.load(self.coefficients, phase, which, channel, lanes=lanes)

    def _estimate(self, channel: Expr, lanes: int) -> Expr:
        value = self._coefficient(4, channel, lanes)
        for which, source in enumerate(self.kernel.pattern.sources(self.down, self.right)):
            known = emit.cast(self._source(*source, channel, lanes), "float32", lanes)
            value = value + self._coefficient(which, channel, lanes) * known
        if self.kernel.dtype == "uint8":
            return emit.to_uint8(value, lanes)
        return emit.relu(value, "float32", lanes) if self.kernel.relu else value


def _clamped(first: Expr, offset: int, extent: int) -> Expr:
    """``first + offset``, within ``range(extent)``."""
    index = emit.minimum(first + offset, extent - 1)
    return emit.maximum(index, 0) if offset < 0 else index
