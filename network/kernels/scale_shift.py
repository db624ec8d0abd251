"""A factor and a constant for each channel: a batch normalisation that no convolution could take in."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.epilogue import check_clip, finished, floors, suffix
from network.kernels.parameters import check
from network.kernels.plain import Plain
from network.layers import DType, Shape
from network.variants import TensorSpec


@dataclass(frozen=True, slots=True)
class ScaleShift(Plain):
    """``x * scale + bias``, then relu and clip; a uint8 output is rounded half to even and clamped to 0..255.

    Zero points of uint8 are part of the bias, and relu is then the clamp at ``floor`` instead of 0.

    Parameters, all (channels,) float32: ``scale``, ``bias``, and for relu to uint8 ``floor``.
    """

    shape: Shape
    input_dtype: DType
    output_dtype: DType = field()  # Without field(), the base's property would be taken for a default.
    relu: bool
    clip: float = 0.0
    """Upper bound behind a float32 relu; 0 is none."""

    def __post_init__(self) -> None:
        check(self.key, min(self.shape) > 0, "sizes must be at least 1; correct the layer's shape")
        check_clip(self.key, self.relu, self.clip, self.output_dtype)

    @property
    @override
    def key(self) -> str:
        h, w, c = self.shape
        return f"scale_shift {h}x{w}x{c} {self.input_dtype}>{self.output_dtype}{suffix(self.relu, self.clip)}"

    @property
    @override
    def output_shape(self) -> Shape:
        return self.shape

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        each = TensorSpec((self.shape[2],), "float32")
        return {"scale": each, "bias": each} | floors(self.shape[2], self.relu, self.output_dtype)

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

    def _body(self, isa: Isa, *, x: Any, scale: Any, bias: Any, y: Any, floor: Any = None) -> None:
        from network.kernels import emit

        height, width, channels = self.shape
        with emit.spread(isa.threads, height, self.elementwise) as row, emit.serial(0, width) as column:

            def apply(channel: Any, lanes: int) -> None:
                at = column * channels + channel
                value = emit.load(x, row, at, lanes=lanes)
                value = emit.cast(value, "float32", lanes) if self.input_dtype == "uint8" else value
                value = finished(
                    value,
                    channel,
                    lanes,
                    scale=scale,
                    bias=bias,
                    output_dtype=self.output_dtype,
                    relu=self.relu,
                    clip=self.clip,
                    floor=floor,
                )
                emit.store(y, value, row, at, lanes=lanes)

            emit.each_vector(channels, isa.lanes, apply)
