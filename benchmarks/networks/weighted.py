"""Operators with weights, which are drawn so that every output has a mean square of about 1.

The variance of a weight is ``1 / (inputs * mean square of an input)``. Behind a ReLU, which halves the mean
square, that is He et al. 2015, "Delving Deep into Rectifiers": values stay in range at any depth.

There, a filter over several channels also sums to zero, as in Brock et al. 2021, "Characterizing signal
propagation to close the performance gap in unnormalized ResNets", section 4.2. What a ReLU lets through is
above zero on average; otherwise that average would grow from layer to layer until all images look alike.
"""

from __future__ import annotations

from math import pi, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.networks.graph import Graph, Shape, Tensor
from benchmarks.networks.windows import attributes, window


def conv(
    g: Graph,
    x: Tensor,
    channels: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    bias: bool = True,
) -> Tensor:
    """A convolution over one or two dimensions; ``groups`` of as many as x has channels is depthwise."""
    shape, size = (channels, *window(x, kernel, stride, padding)), len(x.shape) - 1
    weight = _drawn(g, x, (channels, x.channels // groups, *(kernel,) * size))
    details = attributes(x, kernel, stride, padding)
    return _weighted(g, "Conv", x, shape, weight, bias, **details, group=groups)


def transposed(g: Graph, x: Tensor, channels: int, factor: int) -> Tensor:
    """A transposed convolution that makes images so many times larger, without overlap."""
    shape = (channels, *(factor * each for each in x.shape[1:]))
    # No two windows overlap: each output adds up one value a channel.
    weight = _drawn(g, x, (channels * factor**2, x.channels)).reshape(channels, factor, factor, x.channels)
    factors = (factor, factor)
    weight = weight.transpose(3, 0, 1, 2)
    return _weighted(g, "ConvTranspose", x, shape, weight, True, kernel_shape=factors, strides=factors)


def dense(g: Graph, x: Tensor, outputs: int) -> Tensor:
    """A fully connected layer on a flat tensor."""
    return _weighted(g, "Gemm", x, (outputs,), _drawn(g, x, (outputs, x.channels)), True, transB=1)


def bn(g: Graph, x: Tensor, scale: float = 1.0) -> Tensor:
    """Batch normalisation with statistics near the true ones, to about ``scale`` of a unit of variance."""
    name, count = g.name("BatchNormalization"), x.channels
    statistics = {
        "scale": scale * g.random.uniform(0.8, 1.2, count),
        "bias": 0.1 * scale * g.random.standard_normal(count),
        "mean": 0.1 * sqrt(x.power) * g.random.standard_normal(count),
        "var": x.power * g.random.uniform(0.8, 1.25, count),
    }
    inputs = [g.constant(f"{name}.{each}", value.astype(np.float32)) for each, value in statistics.items()]
    return Tensor(g.node("BatchNormalization", [x.name, *inputs], name), x.shape, scale**2)


def _drawn(g: Graph, x: Tensor, shape: Shape) -> NDArray[np.float32]:
    """Weights (outputs, inputs, window) for outputs that add up all that follows the first dimension."""
    drawn = g.random.standard_normal(shape, dtype=np.float32)
    power = x.power
    if x.positive and shape[1] > 1:
        drawn -= drawn.mean(axis=tuple(range(1, drawn.ndim)), keepdims=True)
        power = x.signed + x.positive * (1 - 1 / pi)
    drawn /= np.float32(sqrt(prod(shape[1:]) * power))
    return drawn


def _weighted(
    g: Graph,
    kind: str,
    x: Tensor,
    shape: Shape,
    weight: NDArray[np.float32],
    bias: bool,
    **attributes: Any,
) -> Tensor:
    name = g.name(kind)
    inputs = [x.name, g.constant(f"{name}.weight", np.ascontiguousarray(weight))]
    if bias:
        drawn = 0.1 * g.random.standard_normal(shape[0], dtype=np.float32)
        inputs.append(g.constant(f"{name}.bias", drawn))
    return Tensor(g.node(kind, inputs, name, **attributes), shape)
