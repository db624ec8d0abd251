"""What is fused into a layer: batch normalisation, a constant that is added, and ReLU. All of it is exact.

Each function gives the layers with the operation applied behind the last one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from network.layers import Layer

Layers = tuple[Layer, ...]
Vector = NDArray[np.float32]


def fuse_affine(layers: Layers, scale: Vector, shift: Vector, name: str) -> Layers:
    """Multiply each channel by ``scale`` and add ``shift``, both ``(channels,)``.

    Folds into the weights of the last layer. Where that has none, or a ReLU is in between, it becomes a 1x1
    convolution of its own with a diagonal weight.
    """
    *before, last = layers
    if last.weight is None or last.bias is None or last.relu:
        return (*layers, _diagonal(last, scale, shift, name))
    exact = scale.astype(np.float64)
    weight = last.weight * exact[:, None, None, None]
    bias = last.bias * exact + shift
    return (*before, replace(last, weight=weight.astype(np.float32), bias=bias.astype(np.float32)))


def fuse_relu(layers: Layers, name: str) -> Layers:
    """Clamp at zero: in the last layer's epilogue, or in that of the layer before trailing max pools.

    A maximum commutes with a clamp, so moving it ahead of a max pool changes nothing. Elsewhere it is a
    layer of its own.
    """
    if layers[-1].op == "max_pool":
        moved = fuse_relu(layers[:-1], name)
        return (*moved, replace(layers[-1], inputs=(moved[-1].name,)))
    if layers[-1].has_weights:
        return (*layers[:-1], replace(layers[-1], relu=True))
    if layers[-1].op == "relu":
        return layers
    shape = layers[-1].output_shape
    return (*layers, Layer(name, "relu", (layers[-1].name,), shape, shape, relu=True))


def _diagonal(last: Layer, scale: Vector, shift: Vector, name: str) -> Layer:
    weight = np.diag(scale).astype(np.float32)[:, None, None, :]
    shape = last.output_shape
    return Layer(name, "conv2d", (last.name,), shape, shape, weight=weight, bias=shift.astype(np.float32))
