"""One function for each ONNX operator: the chain of layers behind it, given the chain before it.

Adding an operator is adding a function and its entry in ``OPERATORS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from network.fusion import fuse_affine, fuse_relu
from network.layers import Layer, Operator, Shape
from network.onnx_graph import Node
from network.onnx_names import unique_name

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Chain:
    """The layers so far."""

    layers: tuple[Layer, ...]
    flat: bool = False
    """Whether ONNX sees the last tensor as (batch, values) instead of (batch, channels, height, width)."""

    @property
    def shape(self) -> Shape:
        """``(height, width, channels)`` of the last tensor."""
        return self.layers[-1].output_shape

    def name(self, node: Node, prefix: str) -> str:
        """A readable name for the layer that the node becomes."""
        return unique_name(node, prefix, {layer.name for layer in self.layers})

    def then(self, layer: Layer) -> Chain:
        """With one more layer."""
        return replace(self, layers=(*self.layers, layer))


def _conv(chain: Chain, node: Node) -> Chain:
    _require_image(chain, node)
    node.require("group", 1)
    node.require("dilations", [1, 1])
    weight = node.constant(1, "weight")
    if weight.ndim != 4:
        raise node.error(f"has a weight of rank {weight.ndim}", "BlinkNet reads two-dimensional convolutions")
    if weight.shape[1] != chain.shape[2]:
        raise node.error(f"has a weight for {weight.shape[1]} channels", f"its input has {chain.shape[2]}")
    layer = _windowed(chain, node, "conv2d", (weight.shape[2], weight.shape[3]))
    packed = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    bias = _bias(node, node.optional(2, "bias"), len(weight))
    shape = (*layer.output_shape[:2], len(weight))
    return chain.then(replace(layer, output_shape=shape, weight=packed, bias=bias))


def _max_pool(chain: Chain, node: Node) -> Chain:
    return chain.then(_windowed(chain, node, "max_pool", _pool_kernel(chain, node)))


def _average_pool(chain: Chain, node: Node) -> Chain:
    pooled = _windowed(chain, node, "avg_pool", _pool_kernel(chain, node))
    include = bool(node.attributes.get("count_include_pad", 0))
    return chain.then(replace(pooled, count_include_pad=include))


def _global_average_pool(chain: Chain, node: Node) -> Chain:
    _require_image(chain, node)
    height, width, channels = chain.shape
    name = chain.name(node, "pool")
    inputs = (chain.layers[-1].name,)
    return chain.then(Layer(name, "avg_pool", inputs, chain.shape, (1, 1, channels), kernel=(height, width)))


def _gemm(chain: Chain, node: Node) -> Chain:
    for attribute, value in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        node.require(attribute, value)
    weight = node.constant(1, "weight")
    rows = weight if node.attributes.get("transB", 0) else weight.T
    return _dense(chain, node, rows, node.optional(2, "bias"))


def _matmul(chain: Chain, node: Node) -> Chain:
    return _dense(chain, node, node.constant(1, "weight").T, None)


def _add(chain: Chain, node: Node) -> Chain:
    position = next((index for index, value in enumerate(node.inputs) if value is not None), 1)
    values = node.constant(position, "addend")
    channels = chain.shape[2]
    rank = 2 if chain.flat else 4
    by_channel = (1, channels) if chain.flat else (1, channels, 1, 1)
    try:
        per_channel = np.broadcast_to(values.reshape((1,) * (rank - values.ndim) + values.shape), by_channel)
    except ValueError:
        raise node.error(f"adds a constant of shape {values.shape}", "add one value a channel") from None
    _require_channels(chain, node)
    shift = per_channel.reshape(channels).astype(np.float32)
    ones = np.ones(channels, np.float32)
    return replace(chain, layers=fuse_affine(chain.layers, ones, shift, chain.name(node, "add")))


def _batch_normalization(chain: Chain, node: Node) -> Chain:
    node.require("training_mode", 0)
    _require_channels(chain, node)
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (
        node.constant(position, name).astype(np.float64) for position, name in enumerate(names, start=1)
    )
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return replace(
        chain, layers=fuse_affine(chain.layers, factor, bias - factor * mean, chain.name(node, "norm"))
    )


def _relu(chain: Chain, node: Node) -> Chain:
    return replace(chain, layers=fuse_relu(chain.layers, chain.name(node, "relu")))


def _flatten(chain: Chain, node: Node) -> Chain:
    node.require("axis", 1)
    return replace(chain, flat=True)


def _reshape(chain: Chain, node: Node) -> Chain:
    """A flatten in other words; the target is constant or what shape inference makes of it."""
    target = node.inputs[1] if len(node.inputs) > 1 else None
    shape = node.output_shape if target is None else tuple(int(each) for each in target)
    size = prod(chain.shape)
    if shape is None or len(shape) != 2 or shape[0] not in {-1, 0, 1} or shape[1] not in {-1, size}:
        remedy = f"only a flatten to (batch, {size}) is supported"
        raise node.error(f"reshapes to {shape or 'a shape that is not known'}", remedy)
    return replace(chain, flat=True)


def _skip(chain: Chain, node: Node) -> Chain:  # noqa: ARG001 - the signature of an operator
    return chain


OPERATORS: dict[str, Callable[[Chain, Node], Chain]] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "Dropout": _skip,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "Identity": _skip,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Relu": _relu,
    "Reshape": _reshape,
}


def _dense(chain: Chain, node: Node, rows: NDArray[np.float32], bias: NDArray[np.float32] | None) -> Chain:
    """``rows`` are (outputs, inputs) in ONNX's order: channels outermost, where ours has them innermost."""
    height, width, channels = chain.shape
    if not chain.flat:
        raise node.error("reads a tensor of rank 4", "put a Flatten in front of it")
    if rows.ndim != 2 or rows.shape[1] != prod(chain.shape):
        raise node.error(f"has a weight for {rows.shape[1:]} values", f"its input has {prod(chain.shape)}")
    weight = rows.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    outputs = len(rows)
    return chain.then(
        Layer(
            name=chain.name(node, "dense"),
            op="dense",
            inputs=(chain.layers[-1].name,),
            input_shape=chain.shape,
            output_shape=(1, 1, outputs),
            kernel=(height, width),
            weight=np.ascontiguousarray(weight),
            bias=_bias(node, bias, outputs),
        )
    )


def _windowed(chain: Chain, node: Node, op: Operator, kernel: Pair) -> Layer:
    """A layer with one output channel for each input channel."""
    height, width, channels = chain.shape
    strides = node.attributes.get("strides", [1, 1])
    stride = (int(strides[0]), int(strides[1]))
    padding = _padding(node, (height, width), kernel, stride)
    rows = (height + padding[0] + padding[2] - kernel[0]) // stride[0] + 1
    columns = (width + padding[1] + padding[3] - kernel[1]) // stride[1] + 1
    if min(rows, columns) < 1:
        raise node.error(f"has a window {kernel} larger than its input {height}x{width}", "check the shapes")
    return Layer(
        name=chain.name(node, "conv" if op == "conv2d" else "pool"),
        op=op,
        inputs=(chain.layers[-1].name,),
        input_shape=chain.shape,
        output_shape=(rows, columns, channels),
        kernel=kernel,
        stride=stride,
        padding=padding,
    )


def _padding(node: Node, size: Pair, kernel: Pair, stride: Pair) -> Padding:
    """Top, left, bottom, right."""
    mode = node.attributes.get("auto_pad", b"NOTSET").decode()
    if mode == "NOTSET":
        top, left, bottom, right = (int(each) for each in node.attributes.get("pads", [0, 0, 0, 0]))
        return top, left, bottom, right
    if mode == "VALID":
        return 0, 0, 0, 0
    top, bottom = _same(mode, size[0], kernel[0], stride[0])
    left, right = _same(mode, size[1], kernel[1], stride[1])
    return top, left, bottom, right


def _same(mode: str, size: int, kernel: int, stride: int) -> Pair:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _pool_kernel(chain: Chain, node: Node) -> Pair:
    _require_image(chain, node)
    node.require("ceil_mode", 0)
    node.require("dilations", [1, 1])
    height, width = node.attributes["kernel_shape"]
    pads = node.attributes.get("pads", [0, 0, 0, 0])
    if any(pad >= size for pad, size in zip(pads, (height, width, height, width), strict=True)):
        raise node.error(f"has pads {pads} that hold whole windows", "export smaller pads")
    return int(height), int(width)


def _bias(node: Node, bias: NDArray[np.float32] | None, outputs: int) -> NDArray[np.float32]:
    if bias is None:
        return np.zeros(outputs, np.float32)
    if bias.size not in {1, outputs}:
        raise node.error(f"has a bias of shape {bias.shape}", f"it needs {outputs} values")
    return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (outputs,)))


def _require_image(chain: Chain, node: Node) -> None:
    if chain.flat:
        raise node.error("reads a tensor of rank 2", "BlinkNet wants images here, before any Flatten")


def _require_channels(chain: Chain, node: Node) -> None:
    """Behind a flatten, one value for each input is one for each channel only where the image is 1x1."""
    if chain.flat and chain.shape[:2] != (1, 1):
        raise node.error("follows a Flatten", "put it before the Flatten or behind a dense layer")
