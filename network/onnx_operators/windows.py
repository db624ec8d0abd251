"""Convolutions and pools: operators that see a window of their input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from network.draft import Draft, Tensor
from network.layers import Layer, Operator
from network.onnx_graph import Node
from network.onnx_operators.checks import image, pair

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


def _conv(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    tensor = image(node, inputs, "weight")
    weight = _weight(node, tensor)
    groups, channels = int(node.attributes.get("group", 1)), draft.shape(tensor)[2]
    if weight.shape[1] * groups != channels:
        raise node.error(f"has a weight for {weight.shape[1] * groups} channels", f"its input has {channels}")
    dilation = pair(tensor, node.attributes.get("dilations", [1] * (tensor.rank - 2)), 1)
    layer = _windowed(draft, node, tensor, "conv2d", (weight.shape[2], weight.shape[3]), dilation)
    packed = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    bias = bias_of(node, node.optional(2, "bias"), len(weight))
    shape = (*layer.output_shape[:2], len(weight))
    return draft.add(replace(layer, output_shape=shape, weight=packed, bias=bias, groups=groups), tensor.rank)


def _conv_transpose(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    tensor = image(node, inputs, "weight")
    node.require("group", 1)
    node.require("dilations", [1] * (tensor.rank - 2))
    node.require("auto_pad", b"NOTSET")
    weight = _weight(node, tensor).transpose(1, 2, 3, 0)
    height, width, channels = draft.shape(tensor)
    if weight.shape[3] != channels:
        raise node.error(f"has a weight for {weight.shape[3]} channels", f"its input has {channels}")
    ones = [1] * (tensor.rank - 2)
    stride = pair(tensor, node.attributes.get("strides", ones), 1)
    more = pair(tensor, node.attributes.get("output_padding", [0] * len(ones)), 0)
    padding = _pads(node, tensor)
    rows = (height - 1) * stride[0] + weight.shape[1] + more[0] - padding[0] - padding[2]
    columns = (width - 1) * stride[1] + weight.shape[2] + more[1] - padding[1] - padding[3]
    if "output_shape" in node.attributes or min(rows, columns) < 1:
        raise node.error("has an output_shape or no output", "export it with pads and output_padding")
    layer = Layer(
        name=draft.name(node, "conv"),
        op="conv_transpose",
        inputs=(tensor.layer,),
        input_shape=draft.shape(tensor),
        output_shape=(rows, columns, len(weight)),
        kernel=(weight.shape[1], weight.shape[2]),
        stride=stride,
        padding=padding,
        weight=np.ascontiguousarray(weight),
        bias=bias_of(node, node.optional(2, "bias"), len(weight)),
    )
    return draft.add(layer, tensor.rank)


def _max_pool(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    return _pool(draft, node, image(node, inputs), "max_pool")


def _average_pool(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    return _pool(draft, node, image(node, inputs), "avg_pool")


def _pool(draft: Draft, node: Node, tensor: Tensor, op: Operator) -> Tensor:
    node.require("dilations", [1] * (tensor.rank - 2))
    kernel = pair(tensor, node.attributes["kernel_shape"], 1)
    pads = _pads(node, tensor)
    if any(pad >= size for pad, size in zip(pads, (*kernel, *kernel), strict=True)):
        raise node.error(f"has pads {pads} that hold whole windows", "export smaller pads")
    pooled = _windowed(draft, node, tensor, op, kernel, (1, 1))
    include = bool(node.attributes.get("count_include_pad", 0))
    return draft.add(replace(pooled, count_include_pad=include), tensor.rank)


def _global_average_pool(draft: Draft, node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    return average_over_all(draft, node, image(node, inputs))


def average_over_all(draft: Draft, node: Node, tensor: Tensor) -> Tensor:
    """One mean a channel."""
    height, width, channels = shape = draft.shape(tensor)
    name = draft.name(node, "pool")
    layer = Layer(name, "avg_pool", (tensor.layer,), shape, (1, 1, channels), kernel=(height, width))
    return draft.add(layer, tensor.rank)


def bias_of(node: Node, bias: NDArray[np.float32] | None, outputs: int) -> NDArray[np.float32]:
    """One value an output channel; zeros where there is none."""
    if bias is None:
        return np.zeros(outputs, np.float32)
    if bias.size not in {1, outputs}:
        raise node.error(f"has a bias of shape {bias.shape}", f"it needs {outputs} values")
    return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (outputs,)))


def _weight(node: Node, tensor: Tensor) -> NDArray[np.float32]:
    """With a height of 1 where it is for a series."""
    weight = node.constant(1, "weight")
    if weight.ndim != tensor.rank:
        raise node.error(f"has a weight of rank {weight.ndim}", f"its input has rank {tensor.rank}")
    return weight[:, :, None] if tensor.rank == 3 else weight


def _windowed(draft: Draft, node: Node, tensor: Tensor, op: Operator, kernel: Pair, dilation: Pair) -> Layer:
    """A layer with one output channel for each input channel."""
    height, width, channels = draft.shape(tensor)
    stride = pair(tensor, node.attributes.get("strides", [1] * (tensor.rank - 2)), 1)
    seen = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
    padding = _padding(node, tensor, (height, width), seen, stride)
    if node.attributes.get("ceil_mode", 0):
        padding = _reaching_out(node, padding, (height, width), seen, stride)
    rows = (height + padding[0] + padding[2] - seen[0]) // stride[0] + 1
    columns = (width + padding[1] + padding[3] - seen[1]) // stride[1] + 1
    if min(rows, columns) < 1:
        raise node.error(f"has a window {seen} larger than its input {height}x{width}", "check the shapes")
    return Layer(
        name=draft.name(node, "conv" if op == "conv2d" else "pool"),
        op=op,
        inputs=(tensor.layer,),
        input_shape=(height, width, channels),
        output_shape=(rows, columns, channels),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
    )


def _reaching_out(node: Node, padding: Padding, size: Pair, seen: Pair, stride: Pair) -> Padding:
    """With as much behind the input as lets a last window start inside of it, which is ONNX's ceil_mode."""
    if node.attributes.get("count_include_pad", 0):
        raise node.error("has ceil_mode with count_include_pad", "export it with one of them")
    top, left, bottom, right = padding
    rows = _missing(size[0] + top, bottom, seen[0], stride[0])
    columns = _missing(size[1] + left, right, seen[1], stride[1])
    return top, left, bottom + rows, right + columns


def _missing(size: int, after: int, seen: int, stride: int) -> int:
    short = (seen - size - after) % stride
    last_start = size + after + short - seen
    return short if last_start < size else short - stride


def _padding(node: Node, tensor: Tensor, size: Pair, seen: Pair, stride: Pair) -> Padding:
    """Top, left, bottom, right."""
    mode = node.attributes.get("auto_pad", b"NOTSET").decode()
    if mode == "NOTSET":
        return _pads(node, tensor)
    if mode == "VALID":
        return 0, 0, 0, 0
    top, bottom = _same(mode, size[0], seen[0], stride[0])
    left, right = _same(mode, size[1], seen[1], stride[1])
    return top, left, bottom, right


def _pads(node: Node, tensor: Tensor) -> Padding:
    pads = [int(each) for each in node.attributes.get("pads", [0, 0] * (tensor.rank - 2))]
    top, left, bottom, right = (0, pads[0], 0, pads[1]) if tensor.rank == 3 else pads
    return top, left, bottom, right


def _same(mode: str, size: int, seen: int, stride: int) -> Pair:
    total = max((-(-size // stride) - 1) * stride + seen - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if mode == "SAME_UPPER" else (large, small)


OPERATORS = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_average_pool,
    "MaxPool": _max_pool,
}
