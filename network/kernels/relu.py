"""The rectifier on its own, where it could not be fused into the layer before it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Plain
from network.layers import DType, Shape
from network.variants import TensorSpec


@dataclass(frozen=True, slots=True)
class Relu(Plain):
    """``max(x, zero)``. Parameter: ``zero_point`` (1,) uint8, what stands for zero, only for uint8."""

    shape: Shape
    dtype: DType

    def __post_init__(self) -> None:
        check(self.key, min(self.shape) > 0, "sizes must be at least 1; correct the layer's shape")

    @property
    @override
    def key(self) -> str:
        h, w, c = self.shape
        return f"relu {h}x{w}x{c} {self.dtype}"

    @property
    @override
    def output_shape(self) -> Shape:
        return self.shape

    @property
    @override
    def output_dtype(self) -> DType:
        return self.dtype

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        return {"zero_point": TensorSpec((1,), "uint8")} if self.dtype == "uint8" else {}

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        h, w, c = self.shape
        return (TensorSpec((h, w * c), self.dtype),)

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.shape)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        names = ("x", *self.parameters(), "y")
        return emit.function(names, self.arguments(isa), partial(self._body, isa))

    def _body(self, isa: Isa, *, x: Any, y: Any, zero_point: Any = None) -> None:
        from network.kernels import emit

        height, width, channels = self.shape
        vector = isa.lanes * (4 if self.dtype == "uint8" else 1)
        with emit.spread(isa.threads, height, self.elementwise) as row:

            def rectify(at: Any, lanes: int) -> None:
                zero = emit.constant(0, self.dtype) if zero_point is None else emit.load(zero_point, 0)
                value = emit.maximum(emit.load(x, row, at, lanes=lanes), emit.splat(zero, lanes))
                emit.store(y, value, row, at, lanes=lanes)

            emit.each_vector(width * channels, vector, rectify)
