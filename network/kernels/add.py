"""The sum of two tensors: where a residual connection meets its trunk."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.epilogue import check_clip, floors, stored, suffix
from network.kernels.parameters import check
from network.kernels.plain import Plain
from network.layers import DType, Shape
from network.variants import TensorSpec


@dataclass(frozen=True, slots=True)
class Add(Plain):
    """``a + b``, then relu and clip; with uint8 on either side ``a * scale[0] + b * scale[1] + bias``.

    A uint8 output is rounded half to even and clamped to 0..255; its zero point and those of the inputs are
    part of the bias, and relu is the clamp at ``floor`` instead of 0.

    Parameters, float32 and none for float32 to float32: ``scale`` (2,), ``bias`` (1,), and for relu to uint8
    ``floor`` (1,).
    """

    shape: Shape
    input_dtype: DType
    """Of both inputs."""
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
        return f"add {h}x{w}x{c} {self.input_dtype}>{self.output_dtype}{suffix(self.relu, self.clip)}"

    @property
    @override
    def output_shape(self) -> Shape:
        return self.shape

    @property
    def scaled(self) -> bool:
        """Whether the inputs are scaled before they are added."""
        return "uint8" in (self.input_dtype, self.output_dtype)

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        if not self.scaled:
            return {}
        specs = {"scale": TensorSpec((2,), "float32"), "bias": TensorSpec((1,), "float32")}
        return specs | floors(1, self.relu, self.output_dtype)

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        h, w, c = self.shape
        return (TensorSpec((h, w * c), self.input_dtype),) * 2

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.shape)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        names = ("a", "b", *self.parameters(), "y")
        return emit.function(names, self.arguments(isa), partial(self._body, isa))

    def _body(
        self, isa: Isa, *, a: Any, b: Any, y: Any, scale: Any = None, bias: Any = None, floor: Any = None
    ) -> None:
        from network.kernels import emit

        height, width, channels = self.shape
        with emit.spread(isa.threads, height, self.elementwise) as row:

            def add(at: Any, lanes: int) -> None:
                terms = [emit.load(each, row, at, lanes=lanes) for each in (a, b)]
                if scale is not None:
                    terms = [self._scaled(term, scale, which, lanes) for which, term in enumerate(terms)]
                    terms.append(emit.splat(emit.load(bias, 0), lanes))
                total = terms[0]
                for term in terms[1:]:
                    total = total + term
                lowest = None if floor is None else emit.splat(emit.load(floor, 0), lanes)
                total = stored(total, lanes, self.output_dtype, self.relu, self.clip, lowest)
                emit.store(y, total, row, at, lanes=lanes)

            emit.each_vector(width * channels, isa.lanes * (4 if self.scaled else 1), add)

    def _scaled(self, value: Any, scale: Any, which: int, lanes: int) -> Any:
        from network.kernels import emit

        if self.input_dtype == "uint8":
            value = emit.cast(value, "float32", lanes)
        return value * emit.splat(emit.load(scale, which), lanes)
