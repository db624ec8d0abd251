"""An answer brought from NHWC into the order that ONNX has, and out of uint8 where it is stored so."""

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
class Output(Plain):
    """``(h, w * c)`` to ``(c, h * w)`` float32; of uint8 it is ``x * scale + bias``.

    Parameters, both float32 and only for uint8: ``scale`` (1,), the quantization step, and ``bias`` (1,),
    what a stored zero stands for.
    """

    shape: Shape
    """``(height, width, channels)``."""
    input_dtype: DType

    def __post_init__(self) -> None:
        check(self.key, min(self.shape) > 0, "sizes must be at least 1; correct the layer's shape")

    @property
    @override
    def key(self) -> str:
        h, w, c = self.shape
        return f"output {h}x{w}x{c} {self.input_dtype}"

    @property
    @override
    def output_shape(self) -> Shape:
        """In the order in which it is written: channels, height, width."""
        h, w, c = self.shape
        return c, h, w

    @property
    @override
    def output_dtype(self) -> DType:
        return "float32"

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        one = TensorSpec((1,), "float32")
        return {"scale": one, "bias": one} if self.input_dtype == "uint8" else {}

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        h, w, c = self.shape
        return (TensorSpec((h, w * c), self.input_dtype),)

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.shape)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        names = ("x", *self.parameters(), "y")
        return emit.function(names, self.arguments(isa), partial(self._body, isa))

    def _body(self, isa: Isa, *, x: Any, y: Any, scale: Any = None, bias: Any = None) -> None:
        from network.kernels import emit

        height, width, channels = self.shape
        with emit.spread(isa.threads, channels, self.elementwise) as channel, emit.serial(0, height) as row:

            def move(column: Any, lanes: int) -> None:
                value = emit.load(x, row, column * channels + channel, lanes=lanes, stride=channels)
                if scale is not None:
                    step, zero = (emit.splat(emit.load(each, 0), lanes) for each in (scale, bias))
                    value = emit.cast(value, "float32", lanes) * step + zero
                emit.store(y, value, channel, row * width + column, lanes=lanes)

            emit.each_vector(width, isa.lanes, move)
