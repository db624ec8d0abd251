"""The loops of ``Expand``: grid points, then phases, then vectors of channels."""

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
    """Each phase has loops of its own, over exactly the grid points that have an output in it."""
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
    """One output pixel: grid point ``(i, j)`` and the phase's offset from it."""

    kernel: Expand
    x: Buffer
    coefficients: Buffer
    y: Buffer
    i: Expr
    j: Expr
    down: int
    right: int

    def emit(self, channel: Expr, lanes: int) -> None:
        copies = (self.down, self.right) == (0, 0)
        value = self._neighbour(0, 0, channel, lanes) if copies else self._estimate(channel, lanes)
        column = self.j * self.kernel.cols + self.right
        at = column * self.kernel.output_shape[2] + channel
        emit.store(self.y, value, self.i * self.kernel.rows + self.down, at, lanes=lanes)

    def _neighbour(self, down: int, right: int, channel: Expr, lanes: int) -> Expr:
        grid_rows, grid_columns, channels = self.kernel.grid_shape
        row = emit.minimum(self.i + down, grid_rows - 1)
        column = emit.minimum(self.j + right, grid_columns - 1)
        return emit.load(self.x, row, column * channels + channel, lanes=lanes)

    def _coefficient(self, which: int, channel: Expr, lanes: int) -> Expr:
        phase = self.down * self.kernel.cols + self.right
        return emit.load(self.coefficients, phase, which, channel, lanes=lanes)

    def _estimate(self, channel: Expr, lanes: int) -> Expr:
        value = self._coefficient(4, channel, lanes)
        for which, (down, right) in enumerate(product(range(2), range(2))):
            neighbour = emit.cast(self._neighbour(down, right, channel, lanes), "float32", lanes)
            value = value + self._coefficient(which, channel, lanes) * neighbour
        if self.kernel.dtype == "uint8":
            return emit.to_uint8(value, lanes)
        return emit.relu(value, "float32", lanes) if self.kernel.relu else value
