"""An operator without a kernel of ours, as TVM's ONNX frontend writes it: exact, in float32, not tuned."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.opaque_lowering import Lowered, lowered
from network.kernels.plain import Plain
from network.layers import DType, Shape
from network.variants import TensorSpec, Work


@dataclass(frozen=True, slots=True)
class Opaque(Plain):
    """What an ONNX model (``network.opaque``) computes of float32 tensors ``(h, w * c)``.

    Parameters: the model's tensors that are constant, ``c0``, ``c1``, ...
    """

    kind: str
    """ONNX's name of the operator."""
    model: bytes = field(repr=False)
    shapes: tuple[Shape, ...]
    """Of the inputs."""
    shape: Shape
    """Of the output."""

    @property
    @override
    def key(self) -> str:
        read = ",".join("x".join(map(str, each)) for each in self.shapes)
        written = "x".join(map(str, self.shape))
        return f"opaque {self.kind} {read}>{written} {hashlib.sha256(self.model).hexdigest()[:16]}"

    @property
    @override
    def output_shape(self) -> Shape:
        return self.shape

    @property
    @override
    def output_dtype(self) -> DType:
        return "float32"

    @property
    def lowered(self) -> Lowered:
        """The function; raises NetworkError where TVM has none."""
        return lowered(self.model)

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        # Random integers would be indices out of range.
        return {
            name: TensorSpec(each.shape, str(each.dtype), "random" if each.dtype.kind == "f" else "zeros")
            for name, each in self.lowered.constants.items()
        }

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec((h, w * c), "float32") for h, w, c in self.shapes)

    @property
    @override
    def elementwise(self) -> int:
        return self.lowered.operations

    @override
    def work(self, isa: Isa) -> Work:
        return replace(Plain.work(self, isa), workspace_bytes=self.lowered.workspace_bytes)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        return self.lowered.function
