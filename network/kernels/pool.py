"""Maximum and average over windows, vectorised over channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, Literal

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Plain
from network.layers import DType, Shape
from network.variants import TensorSpec


@dataclass(frozen=True, slots=True)
class Pool(Plain):
    """The largest element, or the mean, of each window; windows are cut at the input's edge.

    With ``count_include_pad`` a mean is over the whole window, with padding as zero. A uint8 mean is rounded
    half to even. Parameter: ``zero_point`` (1,) uint8, what stands for zero, only where uint8 padding is counted.
    """

    input_shape: Shape
    output_shape: Shape = field()  # Without field(), the base's property would be taken for a default.
    operator: Literal["max", "avg"] = field()
    kernel: tuple[int, int] = field()
    stride: tuple[int, int] = field()
    padding: tuple[int, int, int, int] = field()
    """Top, left, bottom, right."""
    dtype: DType = field()
    count_include_pad: bool = field()

    def __post_init__(self) -> None:
        (h, w, c), (oh, ow, oc) = self.input_shape, self.output_shape
        check(
            self.key,
            min(*self.input_shape, *self.output_shape, *self.kernel, *self.stride) > 0,
            "sizes and strides must be at least 1; correct the layer's attributes",
        )
        check(self.key, c == oc, "pooling keeps the channels; make the two shapes agree")
        starts = (oh - 1) * self.stride[0] - self.padding[0] < h and (ow - 1) * self.stride[1] - self.padding[
            1
        ] < w
        overlaps = self.padding[0] < self.kernel[0] and self.padding[1] < self.kernel[1]
        check(
            self.key,
            starts and overlaps,
            "every window must hold an element; correct output shape or padding",
        )

    @property
    def key(self) -> str:
        (h, w, c), (oh, ow, _), (kh, kw), (sh, sw) = (
            self.input_shape,
            self.output_shape,
            self.kernel,
            self.stride,
        )
        counted = " counted" if self.count_include_pad else ""
        padding = ",".join(map(str, self.padding))
        return f"{self.operator}_pool {h}x{w}x{c}>{oh}x{ow} k{kh}x{kw} s{sh}x{sw} p{padding} {self.dtype}{counted}"

    @property
    def output_dtype(self) -> DType:
        return self.dtype

    @property
    def cut(self) -> bool:
        """Whether any window reaches beyond the input."""
        (h, w, _), (oh, ow, _), (top, left, _, _) = self.input_shape, self.output_shape, self.padding
        bottom = (oh - 1) * self.stride[0] - top + self.kernel[0]
        right = (ow - 1) * self.stride[1] - left + self.kernel[1]
        return top > 0 or left > 0 or bottom > h or right > w

    @property
    def counts_zero_points(self) -> bool:
        """Whether padding adds zero points to a mean."""
        return (
            self.operator == "avg" and self.count_include_pad and self.dtype == "uint8" and any(self.padding)
        )

    def parameters(self) -> dict[str, TensorSpec]:
        return {"zero_point": TensorSpec((1,), "uint8")} if self.counts_zero_points else {}

    @property
    def source(self) -> TensorSpec:
        h, w, c = self.input_shape
        return TensorSpec((h, w * c), self.dtype)

    @property
    def elementwise(self) -> int:
        return prod(self.output_shape) * prod(self.kernel)

    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit
        from network.kernels.pool_loops import maximum, mean

        body: Callable[..., None] = maximum if self.operator == "max" else mean
        return emit.function(("x", *self.parameters(), "y"), self.arguments(isa), partial(body, self, isa))
