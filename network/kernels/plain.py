"""What the kernels around the convolutions share: one schedule, and parameters that are not packed."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import Parameters, checked
from network.layers import DType, Shape
from network.variants import Kernel, TensorSpec, Work


@dataclass(frozen=True, slots=True)
class Plain(Kernel):
    """A kernel that takes its parameters as they are and has nothing to choose."""

    @property
    @abstractmethod
    def sources(self) -> tuple[TensorSpec, ...]:
        """The inputs."""

    @property
    @override
    def inputs(self) -> int:
        return len(self.sources)

    @property
    @abstractmethod
    def elementwise(self) -> int:
        """Operations, for ``work``."""

    @abstractmethod
    def parameters(self) -> dict[str, TensorSpec]:
        """The parameters in the order of the call."""

    @override
    def tiles(self, isa: Isa) -> tuple[tuple[int, ...], ...]:
        return ((),)

    @override
    def arguments(self, isa: Isa) -> tuple[TensorSpec, ...]:
        h, w, c = self.output_shape
        return (*self.sources, *self.parameters().values(), TensorSpec((h, w * c), self.output_dtype))

    @override
    def work(self, isa: Isa) -> Work:
        return Work.of(self.arguments(isa), self.inputs, macs=0, elementwise=self.elementwise)

    @override
    def pack(self, isa: Isa, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        return tuple(checked(self.key, self.parameters(), parameters).values())


@dataclass(frozen=True, slots=True)
class Float(Plain):
    """From float32 of a shape to float32 of the same, without parameters."""

    shape: Shape

    @property
    @override
    def output_shape(self) -> Shape:
        return self.shape

    @property
    @override
    def output_dtype(self) -> DType:
        return "float32"

    @override
    def parameters(self) -> dict[str, TensorSpec]:
        return {}

    @property
    @override
    def sources(self) -> tuple[TensorSpec, ...]:
        h, w, c = self.shape
        return (TensorSpec((h, w * c), "float32"),)
