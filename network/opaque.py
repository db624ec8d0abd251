"""Operators without a kernel of ours: each as an ONNX model of its own, which TVM's frontend compiles.

The model reads and writes tensors as our kernels hand them over, ``(height, width * channels)``; inside it is
the one node, between reshapes and transposes to and from the shapes that ONNX has there. Nodes ahead of it
whose tensors are not float32 (a comparison, a cast) come with it, because layers hand over nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

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


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A node, with its constant inputs by position; None where one is computed or left out."""

    node: onnx.NodeProto
    constants: Sequence[NDArray[Any] | None]


def isolated(
    parts: Sequence[Part], output: str, opset: int, reads: Mapping[str, Read], written: Shape | None
) -> bytes:
    """Nodes alone as a model from ``x0``, ``x1``, ..., which are the tensors in ``reads``, to ``y``.

    ``y`` is their tensor ``output``, of the shape ``written``; where that is not known, as ONNX has it. Equal
    nodes with equal constants give equal bytes, whatever their tensors are called.
    """
    graph = _Graph([], [])
    names = {name: graph.brought_in(f"x{index}", each) for index, (name, each) in enumerate(reads.items())}
    for part in parts:
        given = zip(part.node.input, part.constants, strict=True)
        inputs = [names.get(name, "") if value is None else graph.constant(value) for name, value in given]
        outputs = [f"t{len(graph.nodes)}.{index}" for index in range(len(part.node.output))]
        names |= zip(part.node.output, outputs, strict=True)
        graph.nodes.append(_like(part.node, inputs, outputs))
    graph.brought_out(names[output], written)
    values = [_value(f"x{index}", each.shape) for index, each in enumerate(reads.values())]
    proto = helper.make_graph(graph.nodes, "opaque", values, [_value("y", written)], graph.constants)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        proto, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets), producer_name=""
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def evaluated_shape(model: bytes) -> OnnxShape | None:
    """Of what the model gives for zeros, by ONNX's own evaluator; None where that has no answer."""
    proto = onnx.load_model_from_string(model)
    given = {
        each.name: np.zeros([size.dim_value for size in each.type.tensor_type.shape.dim], np.float32)
        for each in proto.graph.input
    }
    try:
        (found,) = ReferenceEvaluator(proto).run(None, given)
    except Exception:  # Whatever goes wrong there: the shape is not known.
        return None
    return tuple(found.shape)


def _like(node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.NodeProto:
    """The node with other tensors, and without its name."""
    copy = onnx.NodeProto(op_type=node.op_type, domain=node.domain, input=inputs, output=outputs)
    copy.attribute.extend(sorted(node.attribute, key=lambda each: each.name))
    return copy


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

    def brought_out(self, name: str, shape: Shape | None) -> None:
        """ONNX's tensor of that name as ours, called ``y``; without a shape, as it is."""
        if shape is None:
            self._node("Identity", name, output="y")
            return
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


def _value(name: str, shape: Shape | None) -> onnx.ValueInfoProto:
    if shape is None:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    height, width, channels = shape
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, (height, width * channels))
