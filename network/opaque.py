"""Operators without a kernel of ours: each as an ONNX model of its own, which TVM's frontend compiles.

The model reads and writes tensors as our kernels hand them over, ``(height, width * channels)``; inside it is
the one node, between reshapes and transposes to and from the shapes that ONNX has there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from network.layers import Shape

OnnxShape = tuple[int, ...]
RANKS = (2, 3, 4)
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Read:
    """A computed tensor that the node reads: our shape and ONNX's."""

    shape: Shape
    onnx_shape: OnnxShape


def our_shape(shape: OnnxShape) -> Shape | None:
    """``(height, width, channels)`` of a tensor of ONNX's; None where there is no such image."""
    if len(shape) not in RANKS or shape[0] != 1 or min(shape) < 1:
        return None
    channels, *sizes = shape[1:]
    height, width = [1, 1, *sizes][-2:]
    return height, width, channels


def isolated(
    node: onnx.NodeProto,
    output: int,
    opset: int,
    constants: Sequence[NDArray[Any] | None],
    reads: Sequence[Read],
    written: Shape,
) -> bytes:
    """The node alone as a model from ``x0``, ``x1``, ... to ``y``.

    ``output`` is which of the node's outputs, ``written`` its shape. ``constants`` are the node's inputs by
    position, None where one is computed (then it is among ``reads``) or left out.
    Equal nodes with equal constants give equal bytes, whatever they are called.
    """
    graph = _Graph([], [])
    sources = iter([graph.brought_in(f"x{index}", each) for index, each in enumerate(reads)])
    inputs = []
    for name, value in zip(node.input, constants, strict=True):
        if value is not None:
            inputs.append(graph.constant(value))
        else:
            inputs.append(next(sources) if name else "")
    outputs = [f"output{index}" for index in range(len(node.output))]
    copy = onnx.NodeProto(op_type=node.op_type, domain=node.domain, input=inputs, output=outputs)
    copy.attribute.extend(sorted(node.attribute, key=lambda each: each.name))
    graph.nodes.append(copy)
    graph.brought_out(outputs[output], written)
    values = [_value(f"x{index}", each.shape) for index, each in enumerate(reads)]
    proto = helper.make_graph(graph.nodes, "opaque", values, [_value("y", written)], graph.constants)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        proto, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets), producer_name=""
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@dataclass(frozen=True, slots=True)
class _Graph:
    """Nodes and constants so far."""

    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def brought_in(self, name: str, read: Read) -> str:
        """Our tensor of that name as ONNX has it."""
        height, width, channels = read.shape
        if height * width > 1 and channels > 1:
            name = self._reshaped(name, (1, height, width, channels))
            name = self._node("Transpose", name, perm=TO_CHANNELS_FIRST)
            if read.onnx_shape == (1, channels, height, width):
                return name
        return self._reshaped(name, read.onnx_shape)

    def brought_out(self, name: str, shape: Shape) -> None:
        """ONNX's tensor of that name as ours, called ``y``."""
        height, width, channels = shape
        if height * width > 1 and channels > 1:
            name = self._reshaped(name, (1, channels, height, width))
            name = self._node("Transpose", name, perm=TO_CHANNELS_LAST)
        self._reshaped(name, (height, width * channels), "y")

    def _reshaped(self, name: str, shape: OnnxShape, output: str = "") -> str:
        return self._node("Reshape", name, self.constant(np.array(shape, np.int64)), output=output)

    def _node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def _value(name: str, shape: Shape) -> onnx.ValueInfoProto:
    height, width, channels = shape
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, (height, width * channels))
