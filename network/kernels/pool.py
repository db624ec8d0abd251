"""Maximum and average over windows, vectorised over channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, Literal

from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Plain
from network.layers import DType, Shape
from network.variants import TensorSpec


@dataclass(frozen=True, slots=True)
class Pool(Plain):
    """The largest element, or the mean, of each window; windows are cut at the input's edge.

    With ``count_include_pad`` a mean is over the whole window, with padding as zero. A uint8 mean is rounded
    half to even.

    Parameter: ``zero_point`` (1,) uint8, what stands for zero, only where uint8 padding is counted.
    """

    input_shape: Shape
    output_shape: Shape = field()  # Without field(), the base's property would be taken for a default.
    operator: Literal["max", "avg"]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    dtype: DType
    count_include_pad: bool

    def __post_init__(self) -> None:
        sizes = (*self.input_shape, *self.output_shape, *self.kernel, *self.stride)
        check(
            self.key, min(sizes) > 0, "sizes and strides must be at least 1; correct the layer's attributes"
        )
        keeps = self.input_shape[2] == self.output_shape[2]
        check(self.key, keeps, "pooling keeps the channels; make the two shapes agree")
        full = all(self._last_start(axis) < self.input_shape[axis] for axis in range(2))
        overlap = all(self.padding[axis] < self.kernel[axis] for axis in range(2))
        check(
            self.key, full and overlap, "every window must hold an element; correct output shape or padding"
        )

    def _last_start(self, axis: int) -> int:
        """Row or column at which the last window starts."""
        return (self.output_shape[axis] - 1) * self.stride[axis] - self.padding[axis]

    @property
    @override
    def key(self) -> str:
        (h, w, c), (oh, ow, _) = self.input_shape, self.output_shape
        (kh, kw), (sh, sw), padding = self.kernel, self.stride, ",".join(map(str, self.padding))
        counted = " counted" if self.count_include_pad else ""
        window = f"k{kh}x{kw} s{sh}x{sw} p{padding}"
        return f"{self.operator}_pool {h}x{w}x{c}>{oh}x{ow} {window} {self.dtype}{counted}"

    @property
    @override
    def output_dtype(self) -> DType:
        return self.dtype

    @property
    def cut(self) -> bool:
        """Whether any window reaches beyond the input."""
        ends = (self._last_start(axis) + self.kernel[axis] > self.input_shape[axis] for axis in range(2))
        return any(self.padding[:2]) or any(ends)

    @property
    def counts_zero_points(self) -> bool:
        """Whether padding adds zero points to a mean."""
        return (
            self.operator == "avg" and self.count_include_pad and self.dtype == "uint8" and any(self.padding)
        )

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        return {"zero_point": TensorSpec((1,), "uint8")} if self.counts_zero_points else {}

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        h, w, c = self.input_shape
        return (TensorSpec((h, w * c), self.dtype),)

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.output_shape) * prod(self.kernel)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit
        from network.kernels.pool_loops import maximum, mean

        body: Callable[..., None] = maximum if self.operator == "max" else mean
        return emit.function(("x", *self.parameters(), "y"), self.arguments(isa), partial(body, self, isa))
