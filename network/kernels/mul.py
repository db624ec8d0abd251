"""The product of two tensors, or of a tensor with one value a channel, as squeeze-and-excitation has it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Float
from network.variants import TensorSpec


@dataclass(frozen=True, slots=True)
class Mul(Float):
    """``a * b`` in float32; with ``per_channel``, ``b`` is (1, channels). No parameters."""

    per_channel: bool

    def __post_init__(self) -> None:
        check(self.key, min(self.shape) > 0, "sizes must be at least 1; correct the layer's shape")

    @property
    @override
    def key(self) -> str:
        h, w, c = self.shape
        return f"mul {h}x{w}x{c}{' per_channel' if self.per_channel else ''}"

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        h, w, c = self.shape
        factors = (1, c) if self.per_channel else (h, w * c)
        return TensorSpec((h, w * c), "float32"), TensorSpec(factors, "float32")

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.shape)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        return emit.function(("a", "b", "y"), self.arguments(isa), partial(self._body, isa))

    def _body(self, isa: Isa, *, a: Any, b: Any, y: Any) -> None:
        from network.kernels import emit

        height, width, channels = self.shape
        with emit.spread(isa.threads, height, self.elementwise) as row, emit.serial(0, width) as column:

            def multiply(channel: Any, lanes: int) -> None:
                at = column * channels + channel
                factor = (0, channel) if self.per_channel else (row, at)
                value = emit.load(a, row, at, lanes=lanes) * emit.load(b, *factor, lanes=lanes)
                emit.store(y, value, row, at, lanes=lanes)

            emit.each_vector(channels, isa.lanes, multiply)
