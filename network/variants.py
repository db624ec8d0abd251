"""Variants: a layer under an approximation, as kernels with their parameters.

Imports neither tvm nor ray. A kernel's time depends on its specification and tile, not on its weights:
two layers (or two networks) with the same kernel share one measurement.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from network.isa import Isa
from network.layers import DType, Shape

Fill = Literal["random", "range", "zeros"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An argument of a compiled kernel and how to fill it before timing."""

    shape: tuple[int, ...]
    dtype: str
    fill: Fill = "random"

    @property
    def nbytes(self) -> int:
        """Of the tensor's values."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Work:
    """What a kernel asks of a device; the cost model's features come from here."""

    macs: int
    """Multiply-accumulates."""
    elementwise: int
    """Operations outside the multiply-accumulates."""
    input_bytes: int
    output_bytes: int
    parameter_bytes: int
    workspace_bytes: int
    """Buffers that live only during the call."""

    @classmethod
    def of(
        cls,
        arguments: Sequence[TensorSpec],
        inputs: int,
        *,
        macs: int,
        elementwise: int,
        workspace_bytes: int = 0,
    ) -> Work:
        """With the bytes of a kernel's arguments: so many inputs, then its parameters and its output."""
        *read, result = (each.nbytes for each in arguments)
        sources, parameters = sum(read[:inputs]), sum(read[inputs:])
        return cls(macs, elementwise, sources, result, parameters, workspace_bytes)


@dataclass(frozen=True, slots=True)
class Kernel(ABC):
    """What is compiled and timed: an operator with shapes and element types.

    Subclasses are frozen dataclasses, one file each in ``network.kernels``; a compiled kernel is a function
    ``(*inputs, *parameters, output)`` whose activations have the shape ``(height, width * channels)``.
    """

    @property
    def inputs(self) -> int:
        """How many of ``arguments`` are inputs, ahead of the packed parameters."""
        return 1

    @property
    @abstractmethod
    def key(self) -> str:
        """Canonical readable content key, without the tile, usable in file names after hashing."""

    @property
    @abstractmethod
    def output_shape(self) -> Shape:
        """Height, width and channels of what it writes; ``Output`` alone has another order."""

    @property
    @abstractmethod
    def output_dtype(self) -> DType:
        """Element type of what it writes."""

    @abstractmethod
    def tiles(self, isa: Isa) -> tuple[tuple[int, ...], ...]:
        """Schedule choices worth measuring, the most promising first; never empty."""

    @abstractmethod
    def arguments(self, isa: Isa) -> tuple[TensorSpec, ...]:
        """Inputs, packed parameters, output."""

    @abstractmethod
    def work(self, isa: Isa) -> Work:
        """What one call takes."""

    @abstractmethod
    def pack(self, isa: Isa, parameters: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Parameters in the order and layout that ``arguments`` states, between inputs and output."""

    @abstractmethod
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        """The scheduled ``tvm.tirx.PrimFunc``; only here is tvm imported."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a tensor between two layers is stored: what its producer writes, its consumer reads."""

    dtype: DType
    channels: int = 0
    """How many of its channels there are; 0 is all. Which ones, its consumer has chosen."""

    def __str__(self) -> str:
        return SHORT[self.dtype] + (f"/{self.channels}" if self.channels else "")


SHORT: Mapping[DType, str] = {"float32": "f32", "uint8": "u8"}


@dataclass(frozen=True, slots=True)
class Variant:
    """A layer under an approximation, reading and writing tensors of given forms.

    No kernels means that the output is the input, reinterpreted (a layout change that moves no byte).
    """

    layer: str
    approximation: str
    reads: Form
    writes: Form
    kernels: tuple[Kernel, ...]

    @property
    def key(self) -> str:
        """``approximation reads>writes``, unique within its layer: ``int8+channels(1/2) u8/16>u8``."""
        return f"{self.approximation} {self.reads}>{self.writes}"


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One kernel of a variant with its (not yet packed) parameters by name."""

    kernel: Kernel
    parameters: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A variant with the parameters of its kernels."""

    variant: Variant
    steps: tuple[Step, ...]
