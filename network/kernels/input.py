"""The user's sample, channels first in float32, brought into NHWC and, where asked, quantized."""

from __future__ import annotations

from dataclasses import dataclass, field
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
class Input(Plain):
    """``(c, h * w)`` float32 to ``(h, w * c)``; uint8 is ``clamp(round(x * scale + zero_point), 0, 255)``.

    Parameters, both float32 and only for uint8: ``scale`` (1,), one over the quantization step, and
    ``zero_point`` (1,).
    """

    shape: tuple[int, int, int]
    """``(channels, height, width)``."""
    output_dtype: DType = field()  # Without field(), the base's property would be taken for a default.

    def __post_init__(self) -> None:
        check(self.key, min(self.shape) > 0, "sizes must be at least 1; correct the input's shape")

    @property
    @override
    def key(self) -> str:
        c, h, w = self.shape
        return f"input {c}x{h}x{w}>{self.output_dtype}"

    @property
    @override
    def output_shape(self) -> Shape:
        c, h, w = self.shape
        return h, w, c

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        one = TensorSpec((1,), "float32")
        return {"scale": one, "zero_point": one} if self.output_dtype == "uint8" else {}

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        c, h, w = self.shape
        return (TensorSpec((c, h * w), "float32"),)

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.shape)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        names = ("x", *self.parameters(), "y")
        return emit.function(names, self.arguments(isa), partial(self._body, isa))

    def _body(self, isa: Isa, *, x: Any, y: Any, scale: Any = None, zero_point: Any = None) -> None:
        from network.kernels import emit

        channels, height, width = self.shape
        with emit.spread(isa.threads, height, self.elementwise) as row, emit.serial(0, channels) as channel:

            def move(column: Any, lanes: int) -> None:
                value = emit.load(x, channel, row * width + column, lanes=lanes)
                if scale is not None:
                    step, zero = (emit.splat(emit.load(each, 0), lanes) for each in (scale, zero_point))
                    value = emit.to_uint8(value * step + zero, lanes)
                emit.store(y, value, row, column * channels + channel, lanes=lanes, stride=channels)

            emit.each_vector(width, isa.lanes, move)
