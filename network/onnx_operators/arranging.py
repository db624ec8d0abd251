"""Operators across channels and positions: concatenation, resizing, local response, softmax."""

from __future__ import annotations

import numpy as np

from network.draft import Draft, Tensor
from network.layers import Layer
from network.onnx_graph import Node
from network.onnx_operators.checks import by_channel, image, one

MODES = {"nearest", "linear"}


def _concat(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    rank = inputs[0].rank
    shapes = [draft.shape(each) for each in inputs]
    if len(inputs) < len(node.inputs) or node.attributes["axis"] % rank != 1:
        raise node.error("joins constants or along another axis", "only channels can be joined")
    for each in inputs:
        by_channel(draft, node, each)
    height, width, _ = shapes[0]
    channels = tuple(each[2] for each in shapes)
    names = tuple(each.layer for each in inputs)
    name, target = draft.name(node, "concat"), (height, width, sum(channels))
    return draft.add(Layer(name, "concat", names, shapes[0], target, settings={"channels": channels}), rank)


def _resize(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    tensor = image(node, inputs, "sizes")
    mode = node.attributes.get("mode", b"nearest").decode()
    if mode not in MODES or node.output_shape is None or len(node.output_shape) != tensor.rank:
        raise node.error(f"resizes by {mode} to a size", "use nearest or linear with constant sizes")
    shape = draft.shape(tensor)
    sizes = node.output_shape[2:] if tensor.rank == 4 else (1, node.output_shape[2])
    attributes = node.attributes
    settings = {
        "mode": mode,
        "coordinates": attributes.get("coordinate_transformation_mode", b"half_pixel").decode(),
        "rounding": attributes.get("nearest_mode", b"round_prefer_floor").decode(),
    }
    if node.kind == "Upsample":
        settings |= {"coordinates": "asymmetric", "rounding": "floor"}
    target = (sizes[0], sizes[1], shape[2])
    name = draft.name(node, "resize")
    return draft.add(Layer(name, "resize", (tensor.layer,), shape, target, settings=settings), tensor.rank)


def _local_response(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    tensor = image(node, inputs, "parameters")
    usual = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    settings = {name: float(node.attributes.get(name, value)) for name, value in usual.items()}
    shape = draft.shape(tensor)
    settings["size"] = int(node.attributes["size"])
    name = draft.name(node, "lrn")
    return draft.add(Layer(name, "lrn", (tensor.layer,), shape, shape, settings=settings), tensor.rank)


def _softmax(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    """Over channels; before opset 13 it was over all that is behind the axis, which is the same for 1x1."""
    tensor = one(node, inputs, "axis")
    by_channel(draft, node, tensor)
    axis = int(node.attributes.get("axis", 1 if node.opset < 13 else -1)) % tensor.rank
    pixels = int(np.prod(draft.shape(tensor)[:2]))
    if pixels > 1 and (axis != 1 or node.opset < 13):
        raise node.error(f"is over axis {axis}", "only one over channels, of opset 13 on, is supported")
    shape = draft.shape(tensor)
    return draft.add(
        Layer(draft.name(node, "softmax"), "softmax", (tensor.layer,), shape, shape), tensor.rank
    )


OPERATORS = {
    "Concat": _concat,
    "LRN": _local_response,
    "Resize": _resize,
    "Softmax": _softmax,
    "Upsample": _resize,
}
