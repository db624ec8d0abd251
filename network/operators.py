"""What operators beside convolutions and pools compute, in numpy, on batches of images ``(n, h, w, c)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.kernels.conv_transpose import ConvTranspose
from network.kernels.resize import Resize
from network.layers import Layer

Array = NDArray[Any]


def lrn(x: Array, size: int, alpha: float, beta: float, bias: float) -> Array:
    """ONNX's LRN: each element divided by a power of the mean square of ``size`` channels around it."""
    before = (size - 1) // 2
    padded = np.pad(np.square(x), ((0, 0), (0, 0), (0, 0), (before, size - 1 - before)))
    total = sum(padded[..., offset : offset + x.shape[3]] for offset in range(size))
    return np.asarray(x * (bias + alpha / size * total) ** -beta, x.dtype)


def softmax(x: Array) -> Array:
    """Over the channels."""
    powers = np.exp(x - x.max(axis=3, keepdims=True))
    return np.asarray(powers / powers.sum(axis=3, keepdims=True))


def resize(kernel: Resize, x: Array) -> Array:
    """In float32, not yet rounded; ``nearest`` in x's element type."""
    for axis in range(2):
        x = _nearest(kernel, x, axis) if kernel.mode == "nearest" else _linear(kernel, x, axis)
    return x


def _held(kernel: Resize, axis: int) -> tuple[Array, int]:
    """Positions of the outputs along an axis, within the input: numerators and denominator."""
    numerator, denominator = kernel.position(axis, np.arange(kernel.output_shape[axis]))
    return numerator.clip(0, (kernel.input_shape[axis] - 1) * denominator), denominator


def _nearest(kernel: Resize, x: Array, axis: int) -> Array:
    return np.asarray(x.take(kernel.rounded(*_held(kernel, axis)), axis=1 + axis))


def _linear(kernel: Resize, x: Array, axis: int) -> Array:
    numerator, denominator = _held(kernel, axis)
    first = numerator // denominator
    second = np.minimum(first + 1, kernel.input_shape[axis] - 1)
    share = ((numerator - first * denominator) / denominator).astype(np.float32)
    share = share.reshape((-1, 1, 1) if axis == 0 else (-1, 1))
    low, high = (x.take(each, axis=1 + axis).astype(np.float32) for each in (first, second))
    return np.asarray(low + (high - low) * share)


def conv_transpose(kernel: ConvTranspose | Layer, x: Array, weight: Array) -> Array:
    """Sums ``(n, oh, ow, co)`` in weight's element type, without the bias; of a kernel or of its layer."""
    (h, w, _), (down, right), (top, left, _, _) = kernel.input_shape, kernel.stride, kernel.padding
    rows, columns, outputs = kernel.output_shape
    size = max(h * down + kernel.kernel[0], top + rows), max(w * right + kernel.kernel[1], left + columns)
    full = np.zeros((len(x), *size, outputs), weight.dtype)
    for i, j in np.ndindex(kernel.kernel):
        target = full[:, i : i + h * down : down, j : j + w * right : right]
        target += x.astype(weight.dtype) @ weight[:, i, j].T
    return full[:, top : top + rows, left : left + columns]
