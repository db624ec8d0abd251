"""What the kernels compute, in plain numpy; samples are (height, width, channels)."""

from itertools import product

import numpy as np

from network.reference import run_step
from network.variants import Step


def meaning(kernel, x, parameters):
    """What the package says that the kernel computes, of one sample or a tuple of them."""
    xs = x if isinstance(x, tuple) else (x,)
    return run_step(Step(kernel, parameters), *(each[None] for each in xs))[0]


def to_uint8(value):
    return np.clip(np.rint(value), 0, 255)


def convolution_sums(x, weight, stride, padding, fill, dilation=(1, 1), groups=1):
    """Exact sums (height, width, output channels) in float64; ``fill`` is what padding holds."""
    top, left, bottom, right = padding
    padded = np.pad(x.astype("f8"), ((top, bottom), (left, right), (0, 0)), constant_values=float(fill))
    extent = [(size - 1) * step + 1 for size, step in zip(weight.shape[1:3], dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=(0, 1))
    windows = windows[:: stride[0], :: stride[1], ..., :: dilation[0], :: dilation[1]]
    parts = zip(np.split(windows, groups, axis=2), np.split(weight.astype("f8"), groups), strict=True)
    return np.concatenate([np.einsum("hwcij,oijc->hwo", *part) for part in parts], axis=2)


def conv2d(kernel, x, parameters):
    if kernel.selected:
        x = x[:, :, parameters["index"]]
    fill = parameters["zero_point"][0] if kernel.integer else 0
    windows = kernel.stride, kernel.padding, fill, kernel.dilation
    sums = convolution_sums(x, parameters["weight"], *windows, kernel.groups)
    return finished(kernel, sheared(kernel, x, parameters, sums, fill), parameters)


def sheared(kernel, x, parameters, sums, fill):
    """With the rows of windows that start further right: those of the image without its first columns."""
    shift, period = kernel.shear
    top, left, bottom, right = kernel.padding
    wide = np.pad(x.astype("f8"), ((0, 0), (left, right), (0, 0)), constant_values=float(fill))
    for row in range(1, period if shift else 1):
        windows = kernel.stride, (top, 0, bottom, 0), fill, kernel.dilation
        moved = convolution_sums(wide[:, shift * row :], parameters["weight"], *windows, kernel.groups)
        sums[row::period] = moved[row::period, : sums.shape[1]]
    return sums


def floors(kernel):
    """The parameter ``floor`` where the kernel has it; it need not be whole."""
    spec = kernel.parameters().get("floor")
    return {} if spec is None else {"floor": np.full(spec.shape, 23.5, "f4")}


def finished(kernel, sums, parameters):
    """With scale where there is one, bias, and activation or rounding."""
    value = sums * parameters["scale"].astype("f8") if "scale" in parameters else sums
    value = value + parameters["bias"]
    if kernel.output_dtype == "uint8":
        return to_uint8(np.maximum(value, parameters["floor"]) if kernel.relu else value)
    value = np.maximum(value, 0) if kernel.relu else value
    return np.minimum(value, kernel.clip) if kernel.clip else value


def pool(kernel, x, parameters):
    height, width, _ = kernel.output_shape
    out = np.empty(kernel.output_shape)
    for row, column in product(range(height), range(width)):
        top = row * kernel.stride[0] - kernel.padding[0]
        left = column * kernel.stride[1] - kernel.padding[1]
        window = x[max(top, 0) : top + kernel.kernel[0], max(left, 0) : left + kernel.kernel[1]]
        window = window.reshape(-1, x.shape[2]).astype("f8")
        out[row, column] = window.max(0) if kernel.operator == "max" else _mean(kernel, window, parameters)
    return to_uint8(out) if kernel.dtype == "uint8" else out


def _mean(kernel, window, parameters):
    if not kernel.count_include_pad:
        return window.mean(0)
    area = kernel.kernel[0] * kernel.kernel[1]
    zero = float(parameters["zero_point"][0]) if kernel.counts_zero_points else 0.0
    return (window.sum(0) + (area - len(window)) * zero) / area


def expand(kernel, grid, parameters):
    height, width, channels = kernel.output_shape
    out = np.empty((height, width, channels))
    last_row, last_column = grid.shape[0] - 1, grid.shape[1] - 1
    for y, x in product(range(height), range(width)):
        phase = (y % kernel.rows) * kernel.cols + x % kernel.cols
        points = sheared_sources(kernel, y, x) if kernel.shift else block_sources(kernel, y, x)
        known = [grid[min(max(i, 0), last_row), min(max(j, 0), last_column)] for i, j in points]
        if len(known) == 1:
            out[y, x] = known[0]
            continue
        near = np.stack([*known, np.ones(channels)])
        value = (parameters["coefficients"][phase].astype("f8") * near).sum(0)
        if kernel.dtype == "uint8":
            value = to_uint8(value)
        elif kernel.relu:
            value = np.maximum(value, 0)
        out[y, x] = value
    return out


def block_sources(kernel, y, x):
    i, j = y // kernel.rows, x // kernel.cols
    computed = y % kernel.rows == x % kernel.cols == 0
    return [(i, j)] if computed else [(i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1)]


def sheared_sources(kernel, y, x):
    """Grid row ``i`` holds pixels ``cols * j + shift * (i % rows)`` of that row of the image."""
    points = [(i, x // kernel.cols + j) for i in range(y - 2, y + 3) for j in range(-2, 3)]
    away = {(i, j): (i - y, kernel.cols * j + kernel.shift * (i % kernel.rows) - x) for i, j in points}
    nearest = sorted(points, key=lambda each: (away[each][0] ** 2 + away[each][1] ** 2, each))
    return nearest[: 1 if away[nearest[0]] == (0, 0) else 4]
