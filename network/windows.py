"""Windows of a batch of images as rows of a matrix, which turns convolutions into matrix products.

Images are ``(n, h, w, c)``; a row is one window, flattened as ``(kernel height, kernel width, c)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    dilation: Pair = (1, 1)
    shear: Pair = (0, 1)
    """Output row ``y`` starts ``shear[0] * (y % shear[1])`` columns further right."""


def windows(x: NDArray[Any], window: Window, fill: float = 0) -> NDArray[Any]:
    """A view ``(n, output h, output w, kernel h, kernel w, c)`` of images, padded with ``fill``."""
    top, left, bottom, right = window.padding
    padded = x
    if any(window.padding):
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    if window.shear[0]:
        return _sheared(padded, window)
    (down, across), (kernel_down, kernel_across) = window.stride, window.dilation
    extent = tuple((size - 1) * step + 1 for size, step in zip(window.kernel, window.dilation, strict=True))
    view = sliding_window_view(padded, extent, axis=(1, 2))[:, ::down, ::across]
    return view[..., ::kernel_down, ::kernel_across].transpose(0, 1, 2, 4, 5, 3)


def _sheared(padded: NDArray[Any], window: Window) -> NDArray[Any]:
    """A copy: rows that start alike are a view with a larger stride."""
    (shift, period), (down, across), straight = window.shear, window.stride, replace(window, shear=(0, 1))
    straight = replace(straight, padding=(0, 0, 0, 0))
    *_, last = parts = [
        windows(padded[:, row * down :, row * shift :], replace(straight, stride=(down * period, across)))
        for row in range(period)
    ]
    columns = last.shape[2]
    found = np.empty(
        (len(padded), sum(each.shape[1] for each in parts), columns, *last.shape[3:]), last.dtype
    )
    for row, part in enumerate(parts):
        found[:, row::period] = part[:, :, :columns]
    return found


def chunks(x: NDArray[Any], bytes_per_image: int) -> Iterator[NDArray[Any]]:
    """Consecutive images, few enough that ``bytes_per_image`` each stay within CHUNK_BYTES."""
    size = max(1, CHUNK_BYTES // max(1, bytes_per_image))
    for start in range(0, len(x), size):
        yield x[start : start + size]


def convolution(
    x: NDArray[Any], weight: NDArray[Any], window: Window, groups: int = 1, fill: float = 0
) -> NDArray[Any]:
    """Convolve images with ``weight`` ``(co, kh, kw, ci / groups)``, which has the window's kernel.

    In weight's element type: ``(n, oh, ow, co)``.
    """
    if groups == x.shape[3] == len(weight):
        return _depthwise(x, weight, window, fill)
    parts = zip(np.split(x, groups, axis=3), np.split(weight, groups), strict=True)
    return np.concatenate([_product(each, part, window, fill) for each, part in parts], axis=3)


def matrix_product(
    x: NDArray[Any], weight: NDArray[Any], stride: Pair, padding: Padding, fill: float = 0
) -> NDArray[Any]:
    """Convolve images with ``weight`` ``(co, kh, kw, ci)`` in weight's element type: ``(n, oh, ow, co)``."""
    return _product(x, weight, Window(weight.shape[1:3], stride, padding), fill)


def _depthwise(x: NDArray[Any], weight: NDArray[Any], window: Window, fill: float) -> NDArray[Any]:
    """By elements of the window: matrices of one column each would take hundreds of times as long."""
    parts = []
    for images in chunks(x, 2 * x[:1].size * weight.itemsize):
        view = windows(images.astype(weight.dtype, copy=False), window, fill)
        taps = [(view[:, :, :, i, j], weight[:, i, j, 0]) for i, j in np.ndindex(window.kernel)]
        parts.append(sum(elements * factors for elements, factors in taps))
    return np.concatenate(parts)


def _product(x: NDArray[Any], weight: NDArray[Any], window: Window, fill: float) -> NDArray[Any]:
    outputs, stride = len(weight), window.stride
    matrix = weight.reshape(outputs, -1).T
    pixels = x.shape[1] * x.shape[2] // (stride[0] * stride[1]) + x.shape[1] + x.shape[2]
    per_image = pixels * matrix.shape[0] * weight.itemsize
    parts = []
    for images in chunks(x, per_image):
        view = windows(images.astype(weight.dtype, copy=False), window, fill)
        parts.append(view.reshape(-1, matrix.shape[0]) @ matrix)
    shape = (len(x), *view.shape[1:3], outputs)
    return np.concatenate(parts).reshape(shape)
