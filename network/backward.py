"""The gradient of a layer's inputs from that of its outputs: one step of backpropagation, in numpy.

Convolutions and pools go tap by tap: each position of the window is one product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from network.layers import Layer
from network.resampling import matrices
from network.unary import composed
from network.windows import Window, windows

Array = NDArray[np.float32]
STEP = np.float32(1e-2)
"""For derivatives, which only tell how much an error matters."""
Tap = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A layer on the way back; arrays are ``(n, h, w, c)``."""

    layer: Layer
    inputs: Sequence[Array]
    outputs: Array
    gradient: Array
    """Of the outputs ahead of the activation."""


def backward(step: Step) -> tuple[Array, ...]:
    """Gradients of the layer's inputs."""
    return RULES[step.layer.op](step)


def _windowed(at: Step) -> tuple[Array, ...]:
    (x,) = at.inputs
    top, left, bottom, right = at.layer.padding
    border = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(x, border, constant_values=-np.inf) if at.layer.op == "max_pool" else x
    shares = at.gradient / _counts(at.layer) if at.layer.op == "avg_pool" else at.gradient
    total = np.zeros((len(x), x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3]), np.float32)
    for row, column, tap in _taps(at.layer):
        if at.layer.has_weights:
            total[tap] += _through(at.layer, shares, at.layer.filters[:, row, column])
        else:
            total[tap] += shares if at.layer.op == "avg_pool" else shares * (padded[tap] == at.outputs)
    return (total[:, top : top + x.shape[1], left : left + x.shape[2]],)


def _through(layer: Layer, gradient: Array, weight: Array) -> Array:
    """One tap ``(co, ci of a group)`` of all groups."""
    if layer.groups == 1:
        return np.asarray(gradient @ weight)
    split = gradient.reshape(*gradient.shape[:3], layer.groups, -1)
    found = np.einsum("nhwgo,goi->nhwgi", split, weight.reshape(layer.groups, -1, weight.shape[1]))
    return np.asarray(found.reshape(*gradient.shape[:3], -1))


def _taps(layer: Layer) -> Iterator[tuple[int, int, Tap]]:
    """Each position of the window with the padded inputs that it sees."""
    height, width, _ = layer.output_shape
    for row in range(layer.kernel[0]):
        for column in range(layer.kernel[1]):
            starts = (row * layer.dilation[0], column * layer.dilation[1])
            ends = (starts[0] + layer.stride[0] * (height - 1), starts[1] + layer.stride[1] * (width - 1))
            rows = slice(starts[0], ends[0] + 1, layer.stride[0])
            yield row, column, (slice(None), rows, slice(starts[1], ends[1] + 1, layer.stride[1]))


def _counts(layer: Layer) -> Array:
    present = np.ones((1, *layer.input_shape[:2], 1), np.float32)
    view = windows(present, Window(layer.kernel, layer.stride, layer.padding), float(layer.count_include_pad))
    return np.asarray(view.sum(axis=(3, 4)))


def _transposed(at: Step) -> tuple[Array, ...]:
    """A transposed convolution is the gradient of a convolution: its own is that convolution."""
    height, width, _ = at.layer.input_shape
    top, left, bottom, right = at.layer.padding
    rows = (height - 1) * at.layer.stride[0] + at.layer.kernel[0]
    columns = (width - 1) * at.layer.stride[1] + at.layer.kernel[1]
    padded = np.pad(at.gradient, ((0, 0), (top, bottom), (left, right), (0, 0)))[:, :rows, :columns]
    view = windows(padded, Window(at.layer.kernel, at.layer.stride, (0, 0, 0, 0)))
    return (np.einsum("nhwklo,okli->nhwi", view, at.layer.filters, optimize=True),)


def _pass_on(at: Step) -> tuple[Array, ...]:
    """Of a ReLU too: whoever calls has taken off what the activation holds back."""
    return (at.gradient,)


def _add(at: Step) -> tuple[Array, ...]:
    return (at.gradient,) * len(at.inputs)


def _mul(at: Step) -> tuple[Array, ...]:
    first, second = at.inputs
    other = at.gradient * first
    if second.shape != first.shape:
        other = other.sum(axis=(1, 2), keepdims=True)
    return at.gradient * second, other


def _concat(at: Step) -> tuple[Array, ...]:
    ends = np.cumsum([0, *(each.shape[3] for each in at.inputs)])
    return tuple(at.gradient[..., start:end] for start, end in pairwise(ends))


def _unary(at: Step) -> tuple[Array, ...]:
    """By central differences."""
    functions, (x,) = at.layer.settings["functions"], at.inputs
    rise = composed(functions, x + STEP) - composed(functions, x - STEP)
    return (np.asarray(at.gradient * rise / (2 * STEP), np.float32),)


def _resize(at: Step) -> tuple[Array, ...]:
    rows, columns = matrices(at.layer)
    return (np.einsum("nhwc,hr,ws->nrsc", at.gradient, rows, columns, optimize=True),)


def _softmax(at: Step) -> tuple[Array, ...]:
    return (at.outputs * (at.gradient - (at.gradient * at.outputs).sum(axis=3, keepdims=True)),)


def _local_response(at: Step) -> tuple[Array, ...]:
    """Without what a channel's neighbours do to it, which is small beside its own scale."""
    (x,) = at.inputs
    scale = np.divide(at.outputs, x, out=np.ones_like(x), where=x != 0)
    return (at.gradient * scale,)


RULES: Mapping[str, Callable[[Step], tuple[Array, ...]]] = {
    "add": _add,
    "avg_pool": _windowed,
    "concat": _concat,
    "conv2d": _windowed,
    "conv_transpose": _transposed,
    "dense": _windowed,
    "lrn": _local_response,
    "max_pool": _windowed,
    "mul": _mul,
    "output": _pass_on,
    "relu": _pass_on,
    "resize": _resize,
    "softmax": _softmax,
    "unary": _unary,
}
