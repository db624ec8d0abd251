"""A layer under a method as a short sequence of float stages, before any number format is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from network.errors import NetworkError
from network.layers import Layer, Shape
from network.reference import expand
from network.windows import matrix_product


@dataclass(frozen=True, slots=True, eq=False)
class Convolve:
    """A convolution with bias and ReLU; a dense layer is one whose kernel is the whole input."""

    input_shape: Shape
    output_shape: Shape
    weight: NDArray[np.float32]
    """``(co, kh, kw, ci)``; ci counts kept channels only."""
    bias: NDArray[np.float32]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    relu: bool
    index: NDArray[np.int32] | None = None
    """Kept input channels, ascending; None keeps all."""

    @property
    def operations(self) -> int:
        """Multiply-accumulates."""
        return prod(self.output_shape[:2]) * self.weight.size

    @property
    def values(self) -> int:
        """Numbers to store."""
        return self.weight.size + self.bias.size + (0 if self.index is None else self.index.size)

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, h, w, c)`` to ``(n, oh, ow, co)``."""
        kept = x if self.index is None else x[..., self.index]
        y = matrix_product(kept, self.weight, self.stride, self.padding) + self.bias
        return np.maximum(y, np.float32(0)) if self.relu else y


@dataclass(frozen=True, slots=True, eq=False)
class Interpolate:
    """Fills the samples that perforation skipped."""

    output_shape: Shape
    rows: int
    cols: int
    coefficients: NDArray[np.float32]
    """``(rows * cols, 5, c)``: for each phase the weights of four kept neighbours and a constant."""
    relu: bool

    @property
    def operations(self) -> int:
        """Multiply-accumulates of the filled samples."""
        return 4 * prod(self.output_shape) * (self.rows * self.cols - 1) // (self.rows * self.cols)

    @property
    def values(self) -> int:
        """Numbers to store."""
        return self.coefficients.size

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The kept grid ``(n, h, w, c)`` to the whole output."""
        y = expand(x, self.output_shape[:2], self.rows, self.cols, self.coefficients)
        return np.maximum(y, np.float32(0)) if self.relu else y


Stage = Convolve | Interpolate
Stages = tuple[Stage, ...]


def weights(layer: Layer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight ``(co, kh, kw, ci)`` and bias ``(co,)`` of a layer that has them."""
    if layer.weight is None or layer.bias is None:
        raise NetworkError(f"layer {layer.name} ({layer.op}) has no weights; ask has_weights first")
    return layer.weight, layer.bias


def whole(layer: Layer) -> Convolve:
    """A layer with weights as it is."""
    shapes = (layer.input_shape, layer.output_shape)
    return Convolve(*shapes, *weights(layer), layer.stride, layer.padding, layer.relu)


def saves(stages: Sequence[Stage], layer: Layer) -> bool:
    """Whether the stages need fewer operations or fewer stored numbers than the layer."""
    before = whole(layer)
    operations = sum(stage.operations for stage in stages)
    return operations < before.operations or sum(stage.values for stage in stages) < before.values
