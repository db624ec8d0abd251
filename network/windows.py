"""Windows of a batch of images as rows of a matrix, which turns convolutions into matrix products.

Images are ``(n, h, w, c)``; a row is one window, flattened as ``(kernel height, kernel width, c)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]
CHUNK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """What one output sees of its input."""

    kernel: Pair
    stride: Pair
    padding: Padding
    """Top, left, bottom, right."""


def windows(x: NDArray[Any], window: Window, fill: float = 0) -> NDArray[Any]:
    """A view ``(n, output h, output w, kernel h, kernel w, c)`` of images, padded with ``fill``."""
    top, left, bottom, right = window.padding
    padded = x
    if any(window.padding):
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    down, across = window.stride
    view = sliding_window_view(padded, window.kernel, axis=(1, 2))[:, ::down, ::across]
    return view.transpose(0, 1, 2, 4, 5, 3)


def chunks(x: NDArray[Any], bytes_per_image: int) -> Iterator[NDArray[Any]]:
    """Consecutive images, few enough that ``bytes_per_image`` each stay within CHUNK_BYTES."""
    size = max(1, CHUNK_BYTES // max(1, bytes_per_image))
    for start in range(0, len(x), size):
        yield x[start : start + size]


def matrix_product(
    x: NDArray[Any], weight: NDArray[Any], stride: Pair, padding: Padding, fill: float = 0
) -> NDArray[Any]:
    """Convolve images with ``weight`` ``(co, kh, kw, ci)`` in weight's element type: ``(n, oh, ow, co)``."""
    outputs, height, width, _ = weight.shape
    window = Window((height, width), stride, padding)
    matrix = weight.reshape(outputs, -1).T
    pixels = x.shape[1] * x.shape[2] // (stride[0] * stride[1]) + x.shape[1] + x.shape[2]
    per_image = pixels * matrix.shape[0] * weight.itemsize
    parts = []
    for images in chunks(x, per_image):
        view = windows(images.astype(weight.dtype, copy=False), window, fill)
        parts.append(view.reshape(-1, matrix.shape[0]) @ matrix)
    shape = (len(x), *view.shape[1:3], outputs)
    return np.concatenate(parts).reshape(shape)
