"""A layer under a method as a short sequence of float stages, before any number format is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from network.errors import NetworkError
from network.kernels.winograd import grid_of, points_of
from network.layers import Layer, Shape
from network.perforation import Pattern
from network.reference import activate, expand
from network.windows import Window, convolution

Index = NDArray[np.int32]
"""Channels, ascending."""


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
    limit: float = 0.0
    """What the ReLU is clipped to from above; 0 does not clip."""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    index: Index | None = None
    """Kept input channels; None keeps all."""
    winograd: int = 0
    """Size of the tiles in which it is computed by Winograd's algorithm; 0: as it is defined."""
    shear: tuple[int, int] = (0, 1)
    """See Window.shear."""

    @property
    def window(self) -> Window:
        """What one output sees of its input."""
        return Window(self.kernel, self.stride, self.padding, self.dilation, self.shear)

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the window."""
        return self.weight.shape[1], self.weight.shape[2]

    @property
    def depthwise(self) -> bool:
        """Whether every channel is convolved on its own."""
        return 1 < self.groups == self.input_shape[2] == len(self.weight)

    def read(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The channels of ``(n, h, w, c)`` that it keeps."""
        return x if self.index is None else x[..., self.index]

    @property
    def operations(self) -> int:
        """Multiply-accumulates."""
        if self.winograd:
            filters = self.output_shape[2] * self.input_shape[2]
            return prod(grid_of(self.output_shape, self.winograd)) * points_of(self.winograd) * filters
        return prod(self.output_shape[:2]) * self.weight.size

    @property
    def values(self) -> int:
        """Numbers to store."""
        if self.winograd:
            return self.weight.size * points_of(self.winograd) // prod(self.kernel) + self.bias.size
        return self.weight.size + self.bias.size + (0 if self.index is None else self.index.size)

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, h, w, c)`` to ``(n, oh, ow, co)``."""
        y = convolution(self.read(x), self.weight, self.window, self.groups) + self.bias
        return activate(y, self.relu, self.limit)


@dataclass(frozen=True, slots=True, eq=False)
class Interpolate:
    """Fills the samples that perforation skipped."""

    output_shape: Shape
    pattern: Pattern
    coefficients: NDArray[np.float32]
    """``(rows * cols, 5, c)``: for each phase the weights of four computed neighbours and a constant."""
    relu: bool

    @property
    def operations(self) -> int:
        """Multiply-accumulates of the filled samples."""
        return round(4 * prod(self.output_shape) * (1 - self.pattern.share))

    @property
    def values(self) -> int:
        """Numbers to store."""
        return self.coefficients.size

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The kept grid ``(n, h, w, c)`` to the whole output."""
        y = expand(x, self.output_shape[:2], self.pattern, self.coefficients)
        return activate(y, self.relu)


Stage = Convolve | Interpolate
Stages = tuple[Stage, ...]


def whole(layer: Layer) -> Convolve:
    """A layer with weights as it is."""
    if layer.weight is None or layer.bias is None or not layer.has_weights:
        raise NetworkError(f"layer {layer.name} ({layer.op}) has no weights; ask has_weights first")
    shapes = (layer.input_shape, layer.output_shape)
    return Convolve(
        *shapes,
        layer.weight,
        layer.bias,
        layer.stride,
        layer.padding,
        layer.relu,
        layer.limit,
        layer.dilation,
        layer.groups,
    )


def saves(stages: Sequence[Stage], whole: Convolve) -> bool:
    """Whether the stages need fewer operations or fewer stored numbers than what they stand for."""
    operations = sum(stage.operations for stage in stages)
    return operations < whole.operations or sum(stage.values for stage in stages) < whole.values


def last_convolve(stages: Stages) -> int:
    """Position of the convolution that writes the layer's output element type."""
    return max(position for position, stage in enumerate(stages) if isinstance(stage, Convolve))


def reading_only(stages: Stages) -> Stages:
    """Stages that select input channels, for a tensor that holds no others."""
    first, *others = stages
    if not isinstance(first, Convolve) or first.index is None:
        raise NetworkError("only stages that select channels can read a tensor without the others")
    shape = (*first.input_shape[:2], len(first.index))
    return (replace(first, input_shape=shape, index=None), *others)


def writing_only(stages: Stages, channels: Index) -> Stages:
    """The stages without the output channels that nobody reads."""
    last = last_convolve(stages)
    return (*stages[:last], *(_rows(each, channels) for each in stages[last:]))


def _rows(stage: Stage, channels: Index) -> Stage:
    shape = (*stage.output_shape[:2], len(channels))
    if isinstance(stage, Convolve):
        return replace(stage, output_shape=shape, weight=stage.weight[channels], bias=stage.bias[channels])
    return replace(stage, output_shape=shape, coefficients=stage.coefficients[:, :, channels])
