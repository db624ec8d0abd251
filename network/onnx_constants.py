"""What in an ONNX graph is known before it is given anything: weights, shapes, what is computed of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

RANDOM = {"Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike"}


def constants(
    graph: onnx.GraphProto, opset: int, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[Any]]:
    """Initializers, and the outputs of nodes that read nothing but constants and known shapes, by name."""
    found = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = _constant_value(node)
        elif node.op_type == "Shape" and node.input[0] in shapes:
            found[node.output[0]] = _shape(node, shapes[node.input[0]])
        elif node.input and all(name in found for name in node.input if name):
            found |= _computed(node, opset, found)
    return found


def _constant_value(node: onnx.NodeProto) -> NDArray[Any]:
    value = helper.get_attribute_value(node.attribute[0])
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _shape(node: onnx.NodeProto, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """All of it, or the part that later opsets can ask for."""
    part = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return np.array(shape[part.get("start", 0) : part.get("end", len(shape))], np.int64)


def _computed(node: onnx.NodeProto, opset: int, found: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The node's outputs; none where they are random or ONNX's own evaluator knows no answer."""
    if node.op_type in RANDOM:
        return {}
    try:
        evaluator = ReferenceEvaluator(node, opsets={"": opset})
        results = evaluator.run(None, {name: found[name] for name in node.input if name})
    except Exception:  # Whatever goes wrong there: the node is then read as any other.
        return {}
    return {name: np.asarray(each) for name, each in zip(node.output, results, strict=True) if name}


def folded(model: onnx.ModelProto, known: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """The model with these constants as initializers instead of the nodes that compute them."""
    nodes = [each for each in model.graph.node if each.output[0] not in known]
    if len(nodes) == len(model.graph.node):
        return model
    shorter = onnx.ModelProto()
    shorter.CopyFrom(model)
    del shorter.graph.node[:]
    shorter.graph.node.extend(nodes)
    stored = {each.name for each in model.graph.initializer}
    new = (numpy_helper.from_array(known[name], name) for name in known if name not in stored)
    shorter.graph.initializer.extend(new)
    return shorter


@dataclass(frozen=True, slots=True)
class Inferred:
    """What ONNX's shape inference finds out."""

    shapes: Mapping[str, tuple[int, ...]]
    """Those that are fully known."""
    others: frozenset[str]
    """Tensors that are known not to be float32."""


def inferred(model: onnx.ModelProto) -> Inferred:
    """Of all tensors; a flatten written as shape arithmetic needs data propagation."""
    try:
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    except shape_inference.InferenceError:
        return Inferred({}, frozenset())
    tensors = {each.name: each.type.tensor_type for each in (*graph.input, *graph.value_info, *graph.output)}
    shapes = {
        name: tuple(each.dim_value for each in tensor.shape.dim)
        for name, tensor in tensors.items()
        if all(each.dim_value for each in tensor.shape.dim)
    }
    float32 = {onnx.TensorProto.UNDEFINED, onnx.TensorProto.FLOAT}
    return Inferred(
        shapes, frozenset(name for name, tensor in tensors.items() if tensor.elem_type not in float32)
    )
