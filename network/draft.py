"""A network while it is read: layers so far, and what each ONNX tensor is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from network.layers import Layer, Output, Shape
from network.onnx_graph import Node
from network.onnx_names import free_name, plain_name, unique_name


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a node reads or writes: the output of a layer, as ONNX sees it."""

    layer: str
    rank: int
    """Of ONNX's tensor: 4 for images, 3 for series, 2 behind a flatten."""
    sole: bool = False
    """Whether one node alone reads it: only then may that node be fused into the layer."""

    @property
    def flat(self) -> bool:
        """Whether ONNX sees (batch, values)."""
        return self.rank == 2


class Draft:
    """Layers in topological order, which nodes add to and fuse into."""

    def __init__(self, readers: Mapping[str, int]) -> None:
        """``readers`` tells for each ONNX tensor how many nodes read it."""
        self._layers: dict[str, Layer] = {}
        self._readers = readers
        self._tensors: dict[str, Tensor] = {}

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers so far."""
        return tuple(self._layers.values())

    def __getitem__(self, tensor: Tensor) -> Layer:
        return self._layers[tensor.layer]

    def shape(self, tensor: Tensor) -> Shape:
        """``(height, width, channels)``."""
        return self[tensor].output_shape

    def onnx_shape(self, tensor: Tensor) -> tuple[int, ...]:
        """As ONNX has it, batch included."""
        height, width, channels = self.shape(tensor)
        sizes = {2: (prod(self.shape(tensor)),), 3: (channels, width), 4: (channels, height, width)}
        return (1, *sizes[tensor.rank])

    def read(self, name: str) -> Tensor:
        """The ONNX tensor of that name."""
        return self._tensors[name]

    def bind(self, name: str, tensor: Tensor) -> None:
        """What the ONNX tensor of that name is, and whether one node alone reads it.

        Names for the same layer's output (a flatten, a dropout) have all of its readers.
        """
        others = [each for each in self._tensors.values() if each.layer == tensor.layer]
        sole = self._readers.get(name, 0) == 1 and all(each.sole for each in others)
        self._tensors[name] = replace(tensor, sole=sole)

    def add(self, layer: Layer, rank: int) -> Tensor:
        """With one more layer."""
        self._layers[layer.name] = layer
        return Tensor(layer.name, rank)

    def fuse(self, tensor: Tensor, layer: Layer) -> Tensor:
        """With another layer in place of the one that the tensor comes from."""
        self._layers[tensor.layer] = layer
        return Tensor(tensor.layer, tensor.rank)

    def sole_input(self, layer: Layer) -> Tensor | None:
        """What the layer reads, if nobody else does."""
        named = [each for each in self._tensors.values() if each.layer == layer.inputs[0]]
        return named[-1] if all(each.sole for each in named) else None

    def outputs(self, tensors: Mapping[str, str]) -> tuple[Output, ...]:
        """The answers, each by its name and ONNX tensor, in ONNX's order; that may take one more layer.

        ONNX's order is another than ours where there are several positions and several channels. A tensor
        that is read otherwise too may be stored in another form than an answer, which is float32.
        """
        answers = {name: self.read(tensor) for name, tensor in tensors.items()}
        read = Counter(name for layer in self.layers for name in layer.inputs)
        read += Counter(tensor.layer for tensor in answers.values())
        layers = {name: f"output_{plain_name(name)}" if len(answers) > 1 else "output" for name in answers}
        return tuple(
            self._output(name, tensor, read[tensor.layer], layers[name]) for name, tensor in answers.items()
        )

    def _output(self, name: str, tensor: Tensor, readers: int, layer: str) -> Output:
        height, width, channels = shape = self.shape(tensor)
        source = tensor.layer
        if readers > 1 or (height * width > 1 and channels > 1):
            layer = free_name(layer, self._layers.keys())
            source = self.add(Layer(layer, "output", (source,), shape, shape), tensor.rank).layer
        return Output(name, source, self.onnx_shape(tensor)[1:])

    def name(self, node: Node, prefix: str) -> str:
        """A readable name for the layer that the node becomes."""
        return unique_name(node, prefix, self._layers.keys())
