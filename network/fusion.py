"""What is fused into a layer: batch normalisation, sums and products with constants, ReLU. All exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from network.draft import Draft, Tensor
from network.layers import Layer

Vector = NDArray[np.float32]


def fuse_affine(draft: Draft, tensor: Tensor, scale: Vector, shift: Vector, name: str) -> Tensor:
    """Multiply each channel by ``scale`` and add ``shift``, both ``(channels,)``.

    Folds into the weights of the layer. Where that has none, others read it too or a ReLU is in between, it
    becomes a layer of its own: a 1x1 convolution of each channel by itself.
    """
    layer = draft[tensor]
    if layer.weight is None or layer.bias is None or layer.relu or not tensor.sole:
        return draft.add(_by_itself(layer, scale, shift, name), tensor.rank)
    exact = scale.astype(np.float64)
    weight = (layer.weight * exact[:, None, None, None]).astype(np.float32)
    bias = (layer.bias * exact + shift).astype(np.float32)
    return draft.fuse(tensor, replace(layer, weight=weight, bias=bias))


def fuse_relu(draft: Draft, tensor: Tensor, limit: float, name: str) -> Tensor:
    """Clamp at zero, and at ``limit`` unless that is 0, in an epilogue: its own or that ahead of a max pool.

    A maximum commutes with a clamp, so moving it ahead of a max pool changes nothing. Elsewhere it is a
    layer of its own.
    """
    layer = draft[tensor]
    if tensor.sole and layer.op == "max_pool":
        before = draft.sole_input(layer)
        if before is not None and draft[before].has_weights and not draft[before].relu:
            fuse_relu(draft, before, limit, name)
            return tensor
    if tensor.sole and not layer.relu and (layer.has_weights or layer.op in {"add", "conv_transpose"}):
        return draft.fuse(tensor, replace(layer, relu=True, limit=limit))
    shape = layer.output_shape
    return draft.add(Layer(name, "relu", (layer.name,), shape, shape, relu=True, limit=limit), tensor.rank)


def _by_itself(layer: Layer, scale: Vector, shift: Vector, name: str) -> Layer:
    shape = layer.output_shape
    weight = np.ascontiguousarray(scale, np.float32).reshape(-1, 1, 1, 1)
    return Layer(
        name,
        "conv2d",
        (layer.name,),
        shape,
        shape,
        groups=shape[2],
        weight=weight,
        bias=shift.astype(np.float32),
    )
