"""The samples that perforation skipped, estimated from the computed ones around them.

Which those are says ``network.perforation``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Plain
from network.layers import DType, Shape
from network.perforation import Pattern
from network.variants import TensorSpec

Grid = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Expand(Plain):
    """From the grid of the samples that a pattern computes back to ``output_shape``.

    Output ``(y, x)`` is in phase ``(y % rows) * cols + x % cols``. Some phases copy a grid point; the others
    are, per channel, ``k0 g0 + k1 g1 + k2 g2 + k3 g3 + b`` of the four that the pattern names, clamped to the
    grid. A float32 estimate then has its relu, a uint8 one is rounded half to even.

    Parameter: ``coefficients`` (rows * cols, 5, channels) float32, per phase ``k0, k1, k2, k3, b``.
    """

    output_shape: Shape = field()  # Without field(), the base's property would be taken for a default.
    rows: int
    cols: int
    dtype: DType
    relu: bool
    shift: int = 0

    def __post_init__(self) -> None:
        sizes = min(*self.output_shape, self.rows, self.cols)
        check(self.key, sizes > 0, "sizes, rows and cols must be at least 1; correct the perforation")
        inside = 0 <= self.shift * (self.rows - 1) < self.cols
        check(self.key, inside, "shift * (rows - 1) must lie in 0..cols - 1; correct the perforation")

    @property
    @override
    def key(self) -> str:
        (h, w, c), relu = self.output_shape, " relu" if self.relu else ""
        shift = f" shift{self.shift}" if self.shift else ""
        return f"expand {h}x{w}x{c} rows{self.rows} cols{self.cols} {self.dtype}{relu}{shift}"

    @property
    @override
    def output_dtype(self) -> DType:
        return self.dtype

    @property
    def pattern(self) -> Pattern:
        """Which samples the grid holds."""
        return Pattern(self.rows, self.cols, self.shift)

    @property
    def grid_shape(self) -> Grid:
        """The input: rows, columns, channels."""
        h, w, c = self.output_shape
        return (*self.pattern.grid(h, w), c)

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        return {"coefficients": TensorSpec((self.rows * self.cols, 5, self.output_shape[2]), "float32")}

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        h, w, c = self.grid_shape
        return (TensorSpec((h, w * c), self.dtype),)

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.output_shape) + 4 * (prod(self.output_shape) - prod(self.grid_shape))

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels.expand_loops import expand

        return expand(self, isa)
