"""What operators ask of the tensors that they read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from network.draft import Draft, Tensor
from network.onnx_graph import Node


def one(node: Node, inputs: tuple[Tensor, ...], what: str) -> Tensor:
    """The only computed input; anything else must be constant."""
    if len(inputs) != 1:
        raise node.error(f"computes its {what}", "fold or freeze the weights when exporting")
    return inputs[0]


def image(node: Node, inputs: tuple[Tensor, ...], what: str = "weights") -> Tensor:
    """The only computed input, which has positions."""
    tensor = one(node, inputs, what)
    if tensor.flat:
        raise node.error("reads a tensor of rank 2", "BlinkNet wants images here, before any Flatten")
    return tensor


def by_channel(draft: Draft, node: Node, tensor: Tensor) -> None:
    """Behind a flatten, one value for each input is one for each channel only where the image is 1x1."""
    if tensor.flat and draft.shape(tensor)[:2] != (1, 1):
        raise node.error("follows a Flatten", "put it before the Flatten or behind a dense layer")


def per_channel(draft: Draft, node: Node, tensor: Tensor, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A constant that is one value a channel, or one for all: ``(channels,)``."""
    by_channel(draft, node, tensor)
    channels = draft.shape(tensor)[2]
    wanted = (1, channels, *(1,) * (tensor.rank - 2))
    try:
        padded = values.reshape((1,) * (tensor.rank - values.ndim) + values.shape)
        return np.broadcast_to(padded, wanted).reshape(channels).astype(np.float32)
    except ValueError:
        complaint = f"has a constant of shape {values.shape}"
        raise node.error(complaint, f"only one value for each of {channels} channels is supported") from None


def pair(tensor: Tensor, values: list[int], missing: int) -> tuple[int, int]:
    """Height and width of an attribute; a series has no height, which is then ``missing``."""
    height, width = (missing, *values) if tensor.rank == 3 else values
    return int(height), int(width)
