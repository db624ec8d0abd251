"""Any function of one uint8, through a table of its 256 values."""

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
class Lookup(Plain):
    """``table[x]`` of every element. Parameter: ``table`` (256,) uint8."""

    shape: Shape

    def __post_init__(self) -> None:
        check(self.key, min(self.shape) > 0, "sizes must be at least 1; correct the layer's shape")

    @property
    @override
    def key(self) -> str:
        h, w, c = self.shape
        return f"lookup {h}x{w}x{c}"

    @property
    @override
    def output_shape(self) -> Shape:
        return self.shape

    @property
    @override
    def output_dtype(self) -> DType:
        return "uint8"

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        return {"table": TensorSpec((256,), "uint8")}

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        h, w, c = self.shape
        return (TensorSpec((h, w * c), "uint8"),)

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.shape)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        return emit.function(("x", "table", "y"), self.arguments(isa), partial(self._body, isa))

    def _body(self, isa: Isa, *, x: Any, table: Any, y: Any) -> None:
        from network.kernels import emit

        height, width, channels = self.shape
        with (
            emit.spread(isa.threads, height, self.elementwise) as row,
            emit.serial(0, width * channels) as at,
        ):
            # By way of int32: 128 and more must not become negative.
            index = emit.cast(emit.load(x, row, at), "int32")
            emit.store(y, emit.load(table, index), row, at)
