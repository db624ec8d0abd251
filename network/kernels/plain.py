"""What the kernels around the convolutions share: one schedule, and parameters that are not packed."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Any

from numpy.typing import NDArray
from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import Parameters, checked
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
        return Work(
            macs=0,
            elementwise=self.elementwise,
            input_bytes=sum(each.nbytes for each in self.sources),
            output_bytes=prod(self.output_shape) * (1 if self.output_dtype == "uint8" else 4),
            parameter_bytes=sum(each.nbytes for each in self.parameters().values()),
            workspace_bytes=0,
        )

    @override
    def pack(self, isa: Isa, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        return tuple(checked(self.key, self.parameters(), parameters).values())
