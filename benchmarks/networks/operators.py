"""Operators without weights, as each opset wants them written."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any, Literal

import numpy as np

from benchmarks.networks.graph import Graph, Shape, Tensor
from benchmarks.networks.windows import attributes, window


def relu(g: Graph, x: Tensor) -> Tensor:
    """``max(x, 0)``."""
    return _clipped(x, g.node("Relu", [x.name]))


def relu6(g: Graph, x: Tensor) -> Tensor:
    """``min(max(x, 0), 6)``."""
    name = g.name("Clip")
    bounds = [
        g.constant(f"{name}.{end}", np.array(value, np.float32)) for end, value in (("min", 0), ("max", 6))
    ]
    return _clipped(x, g.node("Clip", [x.name, *bounds], name))


def sigmoid(g: Graph, x: Tensor) -> Tensor:
    """Each value to 0..1."""
    return Tensor(g.node("Sigmoid", [x.name]), x.shape)


def lrn(g: Graph, x: Tensor, size: int = 5) -> Tensor:
    """Local response normalisation over that many channels, as AlexNet has it."""
    return _same(g, "LRN", x, size=size, alpha=1e-4, beta=0.75, bias=1.0)


def dropout(g: Graph, x: Tensor, ratio: float = 0.5) -> Tensor:
    """Does nothing at inference. The ratio was an attribute before opset 12."""
    if g.opset < 12:
        return _same(g, "Dropout", x, ratio=ratio)
    name = g.name("Dropout")
    share = g.constant(f"{name}.ratio", np.array(ratio, np.float32))
    return replace(x, name=g.node("Dropout", [x.name, share], name))


def max_pool(
    g: Graph, x: Tensor, kernel: int, *, stride: int, padding: int = 0, ceil: bool = False
) -> Tensor:
    """The largest value of each window."""
    return _pool(g, "MaxPool", x, kernel, stride, padding, ceil=ceil)


def average_pool(g: Graph, x: Tensor, kernel: int, *, stride: int) -> Tensor:
    """The mean of each window."""
    return _pool(g, "AveragePool", x, kernel, stride, 0, ceil=False)


def global_average(g: Graph, x: Tensor) -> Tensor:
    """The mean of each channel; dimensions of 1 stay."""
    shape = (x.channels, *(1 for _ in x.shape[1:]))
    return Tensor(g.node("GlobalAveragePool", [x.name]), shape, x.signed, x.positive)


def spatial_mean(g: Graph, x: Tensor) -> Tensor:
    """The same as a reduction: nothing but channels stays. Axes became an input in opset 18."""
    axes = list(range(2, len(x.shape) + 1))
    return _with_axes(g, "ReduceMean", x, (x.channels,), axes, since=18, keepdims=0)


def squeeze(g: Graph, x: Tensor) -> Tensor:
    """Without the dimensions of 1 behind the channels. Axes became an input in opset 13."""
    axes = [axis for axis, size in enumerate(x.shape, start=1) if axis > 1 and size == 1]
    shape = (x.channels, *(size for size in x.shape[1:] if size > 1))
    return _with_axes(g, "Squeeze", x, shape, axes, since=13)


def flatten(g: Graph, x: Tensor) -> Tensor:
    """All values of a sample in one row."""
    return Tensor(g.node("Flatten", [x.name]), (prod(x.shape),), x.signed, x.positive)


def add(g: Graph, x: Tensor, y: Tensor) -> Tensor:
    """The sum of two tensors of the same shape."""
    return Tensor(g.node("Add", [x.name, y.name]), x.shape, x.signed + y.signed, x.positive + y.positive)


def concat(g: Graph, *tensors: Tensor) -> Tensor:
    """Channels behind one another."""
    channels = sum(each.channels for each in tensors)
    signed = sum(each.signed * each.channels for each in tensors) / channels
    positive = sum(each.positive * each.channels for each in tensors) / channels
    name = g.node("Concat", [each.name for each in tensors], axis=1)
    return Tensor(name, (channels, *tensors[0].shape[1:]), signed, positive)


def resize(g: Graph, x: Tensor, factor: int, mode: Literal["nearest", "linear"]) -> Tensor:
    """Images so many times larger. The region, of no use here, was mandatory before opset 13."""
    name = g.name("Resize")
    region = g.constant(f"{name}.region", np.empty(0, np.float32)) if g.opset < 13 else ""
    scales = g.constant(f"{name}.scales", np.array((1, 1, factor, factor), np.float32))
    how = {"nearest": ("asymmetric", "floor"), "linear": ("half_pixel", "round_prefer_floor")}
    coordinates, rounding = how[mode]
    details = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    shape = (x.channels, *(factor * each for each in x.shape[1:]))
    return Tensor(
        g.node("Resize", [x.name, region, scales], name, mode=mode, **details), shape, x.signed, x.positive
    )


def _clipped(x: Tensor, name: str) -> Tensor:
    """Without what was below 0."""
    return Tensor(name, x.shape, 0.0, x.positive + x.signed / 2)


def _same(g: Graph, kind: str, x: Tensor, **attributes: Any) -> Tensor:
    """What leaves shape and range as they are."""
    return replace(x, name=g.node(kind, [x.name], **attributes))


def _pool(g: Graph, kind: str, x: Tensor, kernel: int, stride: int, padding: int, *, ceil: bool) -> Tensor:
    shape = (x.channels, *window(x, kernel, stride, padding, ceil=ceil))
    name = g.node(kind, [x.name], **attributes(x, kernel, stride, padding), ceil_mode=int(ceil))
    return Tensor(name, shape, x.signed, x.positive)


def _with_axes(
    g: Graph, kind: str, x: Tensor, shape: Shape, axes: list[int], since: int, **attributes: Any
) -> Tensor:
    """A node whose axes are an input ``since`` that opset, and an attribute before."""
    if g.opset < since:
        return Tensor(g.node(kind, [x.name], axes=axes, **attributes), shape, x.signed, x.positive)
    name = g.name(kind)
    which = g.constant(f"{name}.axes", np.array(axes, np.int64))
    return Tensor(g.node(kind, [x.name, which], name, **attributes), shape, x.signed, x.positive)
