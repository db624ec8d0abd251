"""Tensors of one size side by side, along the channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from math import prod
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Plain
from network.layers import DType, Shape
from network.variants import TensorSpec


@dataclass(frozen=True, slots=True)
class Concat(Plain):
    """The channels of each input in turn, as they are: uint8 inputs share scale and zero point.

    No parameters.
    """

    size: tuple[int, int]
    """Height and width."""
    channels: tuple[int, ...]
    """Of each input."""
    dtype: DType

    def __post_init__(self) -> None:
        check(self.key, len(self.channels) > 0, "there must be an input; correct the layer's inputs")
        sizes = (*self.size, *self.channels)
        check(self.key, min(sizes) > 0, "sizes must be at least 1; correct the inputs' shapes")

    @property
    @override
    def key(self) -> str:
        h, w = self.size
        return f"concat {h}x{w}x{'+'.join(map(str, self.channels))} {self.dtype}"

    @property
    @override
    def output_shape(self) -> Shape:
        return *self.size, sum(self.channels)

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
        h, w = self.size
        return tuple(TensorSpec((h, w * channels), self.dtype) for channels in self.channels)

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.output_shape)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        names = (*(f"x{index}" for index in range(self.inputs)), "y")
        return emit.function(names, self.arguments(isa), partial(self._body, isa))

    def _body(self, isa: Isa, *, y: Any, **inputs: Any) -> None:
        from network.kernels import emit

        height, width, total = self.output_shape
        vector = isa.lanes * (4 if self.dtype == "uint8" else 1)
        starts = (0, *accumulate(self.channels))
        with emit.spread(isa.threads, height, self.elementwise) as row, emit.serial(0, width) as column:
            for x, channels, start in zip(inputs.values(), self.channels, starts, strict=False):

                def copy(
                    at: Any, lanes: int, x: Any = x, channels: int = channels, start: int = start
                ) -> None:
                    value = emit.load(x, row, column * channels + at, lanes=lanes)
                    emit.store(y, value, row, column * total + start + at, lanes=lanes)

                emit.each_vector(channels, vector, copy)
