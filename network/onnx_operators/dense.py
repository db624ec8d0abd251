"""Dense layers, and the flattens in front of them, which move no byte."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from network.draft import Draft, Tensor
from network.layers import Layer
from network.onnx_graph import Node
from network.onnx_operators.checks import one
from network.onnx_operators.windows import average_over_all, bias_of


def _gemm(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    for attribute, value in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        node.require(attribute, value)
    weight = node.constant(1, "weight")
    rows = weight if node.attributes.get("transB", 0) else weight.T
    return _dense(draft, node, one(node, inputs, "weight"), rows, node.optional(2, "bias"))


def _matmul(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    return _dense(draft, node, one(node, inputs, "weight"), node.constant(1, "weight").T, None)


def _dense(
    draft: Draft, node: Node, tensor: Tensor, rows: NDArray[np.float32], bias: NDArray[np.float32] | None
) -> Tensor:
    """``rows`` are (outputs, inputs) in ONNX's order: channels outermost, where ours has them innermost."""
    height, width, channels = shape = draft.shape(tensor)
    if not tensor.flat:
        raise node.error(f"reads a tensor of rank {tensor.rank}", "put a Flatten in front of it")
    if rows.ndim != 2 or rows.shape[1] != prod(shape):
        raise node.error(f"has a weight for {rows.shape[1:]} values", f"its input has {prod(shape)}")
    weight = rows.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    layer = Layer(
        name=draft.name(node, "dense"),
        op="dense",
        inputs=(tensor.layer,),
        input_shape=shape,
        output_shape=(1, 1, len(rows)),
        kernel=(height, width),
        weight=np.ascontiguousarray(weight),
        bias=bias_of(node, bias, len(rows)),
    )
    return draft.add(layer, rank=2)


def _flatten(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:  # noqa: ARG001
    node.require("axis", 1)
    return _flat(one(node, inputs, "shape"))


def _reshape(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    """A flatten in other words; the target is constant or what shape inference makes of it."""
    tensor = one(node, inputs, "shape")
    target = node.inputs[1] if len(node.inputs) > 1 else None
    shape = node.output_shape if target is None else tuple(int(each) for each in target)
    size = prod(draft.shape(tensor))
    if shape is None or len(shape) != 2 or shape[0] not in {-1, 0, 1} or shape[1] not in {-1, size}:
        remedy = f"only a flatten to (batch, {size}) is supported"
        raise node.error(f"reshapes to {shape or 'a shape that is not known'}", remedy)
    return _flat(tensor)


def _squeeze(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    """Of all positions, where there is but one."""
    tensor = one(node, inputs, "axes")
    if draft.shape(tensor)[:2] != (1, 1) or _axes(node, tensor) not in {(), tuple(range(2, tensor.rank))}:
        raise node.error("removes some axes", "only all positions behind a global pool can go")
    return _flat(tensor)


def _reduce_mean(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    """A global average pool in other words."""
    tensor = one(node, inputs, "axes")
    if tensor.flat or _axes(node, tensor) != tuple(range(2, tensor.rank)):
        raise node.error("averages over some axes", "only the mean over all positions is supported")
    pooled = average_over_all(draft, node, tensor)
    return pooled if node.attributes.get("keepdims", 1) else _flat(pooled)


def _axes(node: Node, tensor: Tensor) -> tuple[int, ...]:
    """Axes, which later opsets have as an input."""
    stated = node.inputs[1] if len(node.inputs) > 1 else None
    axes = node.attributes.get("axes", []) if stated is None else stated.tolist()
    return tuple(sorted(int(axis) % tensor.rank for axis in axes))


def _flat(tensor: Tensor) -> Tensor:
    return Tensor(tensor.layer, rank=2)


def _skip(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:  # noqa: ARG001
    """What does nothing when a network is only run."""
    return inputs[0]


OPERATORS = {
    "Dropout": _skip,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Identity": _skip,
    "MatMul": _matmul,
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
}
