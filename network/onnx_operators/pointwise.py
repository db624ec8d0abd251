"""Operators that see one position at a time: sums, products, normalisation, activations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from network.draft import Draft, Tensor
from network.fusion import fuse_affine, fuse_relu
from network.layers import Layer, Operator
from network.onnx_graph import Node
from network.onnx_operators.checks import by_channel, one, per_channel
from network.unary import Unary

UNARY: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "Elu": ("elu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "HardSwish": ("hard_swish", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
}
"""ONNX operator to our name of the function, and its attributes with their defaults."""


def _add(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    if len(inputs) > 1:
        return _join(draft, node, inputs, "add")
    shift = _constant(draft, node, inputs[0])
    return fuse_affine(draft, inputs[0], np.ones_like(shift), shift, draft.name(node, "add"))


def _sub(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    tensor = _minuend(node, inputs)
    shift = _constant(draft, node, tensor)
    return fuse_affine(draft, tensor, np.ones_like(shift), -shift, draft.name(node, "sub"))


def _mul(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    if len(inputs) > 1:
        return _join(draft, node, inputs, "mul")
    scale = _constant(draft, node, inputs[0])
    return fuse_affine(draft, inputs[0], scale, np.zeros_like(scale), draft.name(node, "mul"))


def _div(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    tensor = _minuend(node, inputs)
    scale = (1 / _constant(draft, node, tensor)).astype(np.float32)
    return fuse_affine(draft, tensor, scale, np.zeros_like(scale), draft.name(node, "div"))


def _batch_normalization(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    node.require("training_mode", 0)
    tensor = one(node, inputs, "statistics")
    by_channel(draft, node, tensor)
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (
        node.constant(position, name).astype(np.float64) for position, name in enumerate(names, start=1)
    )
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    shift = bias - factor * mean
    name = draft.name(node, "norm")
    return fuse_affine(draft, tensor, factor.astype(np.float32), shift.astype(np.float32), name)


def _relu(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    return fuse_relu(draft, inputs[0], 0.0, draft.name(node, "relu"))


def _clip(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    """A ReLU with a limit, as in MobileNet."""
    low, high = _limits(node)
    if low != 0 or not high > 0:
        raise node.error(f"clips to {low}..{high}", "only a ReLU, clipped from above or not, is supported")
    limit = 0.0 if np.isinf(high) else high
    return fuse_relu(draft, one(node, inputs, "limits"), limit, draft.name(node, "relu"))


def _limits(node: Node) -> tuple[float, float]:
    """Constants, which earlier opsets had as attributes."""
    given = [None if value is None else float(value) for value in (*node.inputs, None, None)[1:3]]
    low = node.attributes.get("min", -np.inf) if given[0] is None else given[0]
    high = node.attributes.get("max", np.inf) if given[1] is None else given[1]
    return float(low), float(high)


def _unary(kind: str, draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    tensor = one(node, inputs, "parameters")
    function, attributes = UNARY[kind]
    constants = tuple(float(node.attributes.get(name, usual)) for name, usual in attributes.items())
    shape, name = draft.shape(tensor), draft.name(node, function)
    settings = {"functions": (Unary(function, constants),)}
    layer = Layer(name, "unary", (tensor.layer,), shape, shape, settings=settings)
    return draft.add(layer, tensor.rank)


def _join(draft: Draft, node: Node, inputs: tuple[Tensor, ...], op: Operator) -> Tensor:
    """Two tensors of one shape; the second factor of a product may be one value a channel."""
    if op == "mul" and draft.shape(inputs[0])[:2] == (1, 1):
        inputs = inputs[::-1]
    first, *others = (draft.shape(each) for each in inputs)
    gate = (1, 1, first[2])
    if len(inputs) != 2 or not (others[0] == first or (op == "mul" and others[0] == gate)):
        shapes = ", ".join(str(each) for each in (first, *others))
        raise node.error(f"joins tensors of {shapes}", "two of one shape are supported")
    names = tuple(each.layer for each in inputs)
    settings = {"per_channel": others[0] != first} if op == "mul" else {}
    return draft.add(Layer(draft.name(node, op), op, names, first, first, settings=settings), inputs[0].rank)


def _constant(draft: Draft, node: Node, tensor: Tensor) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    position = next((index for index, value in enumerate(node.inputs) if value is not None), 1)
    return per_channel(draft, node, tensor, node.constant(position, "operand"))


def _minuend(node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    if len(inputs) != 1 or node.inputs[0] is not None:
        raise node.error("does not have a constant as its second operand", "export it with one")
    return inputs[0]


OPERATORS = {
    "Add": _add,
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Div": _div,
    "Mul": _mul,
    "Relu": _relu,
    "Sub": _sub,
    "Sum": _add,
    **{kind: partial(_unary, kind) for kind in UNARY},
}
