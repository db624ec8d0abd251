"""A network as BlinkNet sees it: layers in order, each with one anchor operator.

Imports neither tvm nor ray. Shapes are ``(height, width, channels)`` of one sample; batch is always 1.
Activations are NHWC in memory and are handed from kernel to kernel as ``(height, width * channels)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Operator = Literal[
    "input",
    "output",
    "conv2d",
    "conv_transpose",
    "dense",
    "max_pool",
    "avg_pool",
    "relu",
    "add",
    "mul",
    "concat",
    "lrn",
    "resize",
    "softmax",
    "unary",
    "opaque",
]
DType = Literal["float32", "uint8"]
INPUT = "input"
"""What the input layer is called where there is one; several are called as ONNX calls them."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One anchor operator with its bias, folded batch norm and activation.

    ``input`` brings a tensor of the user's from NCHW into NHWC; such layers are the first of every network.
    ``output`` brings an answer back into ONNX's order, where that differs or others read the tensor too.
    ``opaque`` is any ONNX operator that there is no kernel of ours for.
    ``dense`` reads its whole input: ``kernel`` is the input's height and width, so a flatten costs nothing.
    """

    name: str
    op: Operator
    inputs: tuple[str, ...]
    """Names of the layers whose outputs it reads; empty for ``input``."""
    input_shape: Shape
    """Of the first one; ``add`` reads several of this shape, ``concat`` several of this height and width."""
    output_shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    """Of channels that a convolution keeps apart."""
    weight: NDArray[np.float32] | None = None
    """``(output channels, kernel height, kernel width, input channels of a group)``."""
    bias: NDArray[np.float32] | None = None
    """``(output channels,)``."""
    relu: bool = False
    limit: float = 0.0
    """What a ReLU is clipped to from above (6 for ReLU6); 0 does not clip."""
    count_include_pad: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What only some operators have: what the kernels of ``lrn``, ``resize`` and ``unary`` take by that name,
    the ``channels`` of each input of a ``concat``, whether the factors of a ``mul`` are ``per_channel``, the
    ``kernel`` of an ``opaque`` layer."""

    @property
    def has_weights(self) -> bool:
        """Whether the anchor is a convolution or a dense layer, which approximations know."""
        return self.op in {"conv2d", "dense"}

    @property
    def filters(self) -> NDArray[np.float32]:
        """The weight of a layer that has one."""
        if self.weight is None:
            raise ValueError(f"layer {self.name} ({self.op}) has no weight; ask has_weights first")
        return self.weight

    @property
    def depthwise(self) -> bool:
        """Whether every channel is convolved on its own."""
        return self.groups > 1 and self.groups == self.input_shape[2]


@dataclass(frozen=True, slots=True)
class Output:
    """One of a network's answers, as the user gets it."""

    name: str
    """As ONNX has it."""
    layer: str
    """What computes it, in float32 and in ONNX's order."""
    shape: tuple[int, ...]
    """As ONNX has it, without the batch: ``(classes,)``, ``(channels, height, width)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Layers in topological order, the inputs first."""

    name: str
    sha256: str
    """Of the ONNX file's bytes."""
    layers: tuple[Layer, ...]
    outputs: tuple[Output, ...] = ()
    """In ONNX's order; left out, the last layer's values in a row."""

    def __post_init__(self) -> None:
        if not self.outputs:
            last = self.layers[-1]
            object.__setattr__(self, "outputs", (Output("output", last.name, (prod(last.output_shape),)),))

    @property
    def inputs(self) -> tuple[Layer, ...]:
        """What the user gives, in ONNX's order."""
        return tuple(each for each in self.layers if each.op == "input")

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, int, int]]:
        """``(channels, height, width)`` of each input by its layer's name, as the user's samples have it."""
        return {each.name: sample_shape(each) for each in self.inputs}

    @property
    def output_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Those of the outputs by name, without the batch."""
        return {each.name: each.shape for each in self.outputs}

    def answers(self, layer: Layer) -> bool:
        """Whether what the layer writes is one of the outputs."""
        return any(each.layer == layer.name for each in self.outputs)

    def readers(self, name: str) -> tuple[Layer, ...]:
        """Layers that read the output of this one."""
        return tuple(each for each in self.layers if name in each.inputs)

    def __getitem__(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(
            f"network {self.name} has no layer {name}; it has {[each.name for each in self.layers]}"
        )

    @property
    def held(self) -> tuple[tuple[int, ...], ...]:
        """For each layer, by index, those ahead whose outputs it does not read but somebody behind it does.

        Those lie in memory beside what the layer itself needs. The network's answers wait until its end.
        """
        order = {layer.name: index for index, layer in enumerate(self.layers)}
        last = {order[source]: order[reader] for source, reader in self.edges}
        last |= {order[each.layer]: len(self.layers) for each in self.outputs}
        return tuple(
            tuple(
                each
                for each in range(index)
                if last.get(each, 0) > index and self.layers[each].name not in layer.inputs
            )
            for index, layer in enumerate(self.layers)
        )

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """``(producer, consumer)`` pairs: the two agree on the element type of the tensor between them."""
        return tuple((source, layer.name) for layer in self.layers for source in layer.inputs)


def sample_shape(layer: Layer) -> tuple[int, int, int]:
    """``(channels, height, width)`` of what an input layer is given."""
    height, width, channels = layer.output_shape
    return channels, height, width


def with_batch(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The same with the batch, which is always 1."""
    return {name: (1, *shape) for name, shape in shapes.items()}


def operator_of(layer: Layer) -> str:
    """ONNX's name of an opaque layer's operator; empty for any other."""
    return str(layer.settings["kernel"].kind) if layer.op == "opaque" else ""
