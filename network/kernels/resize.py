"""Nearest and bilinear resizing. The loops are in ``resize_loops``."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Plain
from network.layers import DType, Shape
from network.variants import TensorSpec

Coordinates = Literal["half_pixel", "asymmetric", "align_corners"]
Rounding = Literal["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]


@dataclass(frozen=True, slots=True)
class Resize(Plain):
    """ONNX's Resize of height and width, by the ratio of output to input sizes.

    A position of the input is a fraction of integers, so that it is exact. ``nearest`` rounds it by
    ``rounding``; ``linear`` weighs the four elements around it in float32, and rounds uint8 half to even.
    No parameters.
    """

    input_shape: Shape
    output_shape: Shape = field()  # Without field(), the base's property would be taken for a default.
    mode: Literal["nearest", "linear"]
    coordinates: Coordinates
    dtype: DType
    rounding: Rounding = "round_prefer_floor"
    """Of ``nearest`` alone."""

    def __post_init__(self) -> None:
        sizes = min(*self.input_shape, *self.output_shape)
        check(self.key, sizes > 0, "sizes must be at least 1; correct the layer's shapes")
        keeps = self.input_shape[2] == self.output_shape[2]
        check(self.key, keeps, "resizing keeps the channels; make the two shapes agree")

    @property
    @override
    def key(self) -> str:
        (h, w, c), (oh, ow, _) = self.input_shape, self.output_shape
        rounding = f" {self.rounding}" if self.mode == "nearest" else ""
        return f"resize {h}x{w}x{c}>{oh}x{ow} {self.mode} {self.coordinates}{rounding} {self.dtype}"

    @property
    @override
    def output_dtype(self) -> DType:
        return self.dtype

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        return {}

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        h, w, c = self.input_shape
        return (TensorSpec((h, w * c), self.dtype),)

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.output_shape) * (1 if self.mode == "nearest" else 6)

    def position(self, axis: int, index: Any) -> tuple[Any, int]:
        """Where along an axis output ``index`` lies in the input: numerator and positive denominator.

        Not yet held within the input. ``index`` may be an integer, an array or an expression.
        """
        size, out = self.input_shape[axis], self.output_shape[axis]
        if self.coordinates == "half_pixel":
            return (index * 2 + 1) * size - out, 2 * out
        if self.coordinates == "asymmetric":
            return index * size, out
        return index * (size - 1), max(out - 1, 1)

    def rounded(self, numerator: Any, denominator: int) -> Any:
        """The nearest integer to a fraction that is not negative."""
        if self.rounding == "floor":
            return numerator // denominator
        if self.rounding == "ceil":
            return (numerator + (denominator - 1)) // denominator
        # Half up; preferring the floor is half down, one part in two denominators earlier.
        half = denominator if self.rounding == "round_prefer_ceil" else denominator - 1
        return (numerator * 2 + half) // (2 * denominator)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels.resize_loops import resize

        return resize(self, isa)
