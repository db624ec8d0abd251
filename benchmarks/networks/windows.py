"""What windows make of a shape, for convolutions and pools alike."""

from __future__ import annotations

from typing import Any

from benchmarks.networks.graph import Shape, Tensor


def window(x: Tensor, kernel: int, stride: int, padding: int, *, ceil: bool = False) -> Shape:
    """The output's dimensions without its channels.

    ``ceil`` adds a window that reaches beyond the end, if it starts before it.
    """
    return tuple(_steps(size, kernel, stride, padding, ceil) for size in x.shape[1:])


def attributes(x: Tensor, kernel: int, stride: int, padding: int) -> dict[str, Any]:
    """The window as ONNX lists it, the same in every dimension and at both ends."""
    size = len(x.shape) - 1
    return {"kernel_shape": (kernel,) * size, "strides": (stride,) * size, "pads": (padding,) * 2 * size}


def _steps(size: int, kernel: int, stride: int, padding: int, ceil: bool) -> int:
    room = size + 2 * padding - kernel
    steps = -(-room // stride) if ceil else room // stride
    if ceil and steps * stride >= size + padding:
        steps -= 1
    return steps + 1
