"""An ONNX graph while it is written: nodes, random weights, and the shapes of its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value in the graph."""

    name: str
    shape: Shape
    """Without the batch: (channels, height, width), (channels, length) or (values,)."""
    signed: float = 1.0
    """The expected mean square of the part of it that is as often below 0 as above."""
    positive: float = 0.0
    """The expected mean square of the part that a ReLU let through."""

    @property
    def power(self) -> float:
        """The expected mean square of its values: what reads it scales its weights by that."""
        return self.signed + self.positive

    @property
    def channels(self) -> int:
        """Its first dimension behind the batch."""
        return self.shape[0]


@dataclass(slots=True)
class Graph:
    """Nodes and weights so far; equal calls with equal seeds write equal graphs."""

    opset: int
    batch: int | str
    """A name leaves it open."""
    random: np.random.Generator
    proto: onnx.ModelProto = field(default_factory=onnx.ModelProto)
    """Written to at once: weights are large, and every message that they are put into copies them."""
    names: Counter[str] = field(default_factory=Counter)

    def name(self, kind: str) -> str:
        """The next name of that kind: ``conv_1``, ``conv_2``."""
        self.names[kind] += 1
        return f"{kind.lower()}_{self.names[kind]}"

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Write an initializer; gives its name."""
        self.proto.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: Sequence[str], name: str | None = None, **attributes: Any) -> str:
        """Write a node with one output of the same name; gives that name."""
        name = name or self.name(kind)
        self.proto.graph.node.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def model(self, name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> onnx.ModelProto:
        """The whole network: nothing can be written behind it."""
        opsets = [helper.make_opsetid("", self.opset)]
        self.proto.opset_import.extend(opsets)
        self.proto.ir_version = helper.find_min_ir_version_for(opsets)
        self.proto.graph.name = name
        self.proto.graph.input.extend(map(self._value, inputs))
        self.proto.graph.output.extend(map(self._value, outputs))
        return self.proto

    def _value(self, tensor: Tensor) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, (self.batch, *tensor.shape))
