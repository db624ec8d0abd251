"""A network as BlinkNet sees it: layers in order, each with one anchor operator.

Imports neither tvm nor ray. Shapes are ``(height, width, channels)`` of one sample; batch is always 1.
Activations are NHWC in memory and are handed from kernel to kernel as ``(height, width * channels)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Operator = Literal["input", "conv2d", "dense", "max_pool", "avg_pool", "relu"]
DType = Literal["float32", "uint8"]
INPUT = "input"


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One anchor operator with its bias, folded batch norm and activation.

    ``input`` brings the user's NCHW sample into NHWC; it is the first layer of every network.
    ``dense`` reads its whole input: ``kernel`` is the input's height and width, so a flatten costs nothing.
    """

    name: str
    op: Operator
    inputs: tuple[str, ...]
    """Names of the layers whose outputs it reads; empty for ``input``."""
    input_shape: Shape
    output_shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""
    weight: NDArray[np.float32] | None = None
    """``(output channels, kernel height, kernel width, input channels)``."""
    bias: NDArray[np.float32] | None = None
    """``(output channels,)``."""
    relu: bool = False
    count_include_pad: bool = False

    @property
    def has_weights(self) -> bool:
        """Whether the anchor is a conv2d or a dense."""
        return self.weight is not None


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Layers in topological order; the last one is the output."""

    name: str
    sha256: str
    """Of the ONNX file's bytes."""
    input_shape: tuple[int, int, int]
    """``(channels, height, width)`` as the user's samples have it."""
    layers: tuple[Layer, ...]

    def __getitem__(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(
            f"network {self.name} has no layer {name}; it has {[each.name for each in self.layers]}"
        )

    @property
    def output_size(self) -> int:
        """Number of logits."""
        return int(np.prod(self.layers[-1].output_shape))

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """``(producer, consumer)`` pairs: the two agree on the element type of the tensor between them."""
        return tuple((source, layer.name) for layer in self.layers for source in layer.inputs)
