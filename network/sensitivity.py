"""How much the network's answer depends on each layer's outputs: the Fisher information, by backpropagation.

An error ``e`` in a layer's outputs ahead of the activation moves the softmax by a Kullback-Leibler divergence
of about ``e @ F @ e / 2``. F is the mean outer product of the gradients of the log-likelihood of labels that
are drawn from the network's own softmax (Amari 1998, "Natural Gradient Works Efficiently in Learning"). As in
K-FAC (Martens, Grosse 2015), one F of the size of the channels stands for all positions and samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from network.layers import Layer, Network
from network.windows import Window, windows

Array = NDArray[np.float32]
Tap = tuple[slice, slice, slice]
SEED = 0


def sensitivities(network: Network, activations: Mapping[str, Array]) -> dict[str, NDArray[np.float64]]:
    """For each layer with weights ``(co, co)``: F, summed over samples and positions."""
    gradient = _likelihood_gradient(activations[network.layers[-1].name])
    found = {}
    for layer in reversed(network.layers[1:]):
        x, y = activations[layer.inputs[0]], activations[layer.name]
        if layer.relu:
            gradient = gradient * (y > 0)
        if layer.has_weights:
            rows = gradient.reshape(-1, gradient.shape[3])
            found[layer.name] = (rows.T @ rows).astype(np.float64)
        gradient = gradient if layer.op == "relu" else backward(layer, x, y, gradient)
    return found


def _likelihood_gradient(logits: Array) -> Array:
    flat = logits.reshape(len(logits), -1)
    share = np.exp(flat - flat.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    drawn = np.random.default_rng(SEED).random((len(flat), 1))
    labels = (share.cumsum(axis=1) < drawn).sum(axis=1).clip(max=flat.shape[1] - 1)
    share[np.arange(len(flat)), labels] -= 1
    return np.asarray(share.reshape(logits.shape))


def backward(layer: Layer, x: Array, y: Array, gradient: Array) -> Array:
    """The gradient of a layer's inputs from that of its outputs ahead of the activation, tap by tap."""
    top, left, bottom, right = layer.padding
    border = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(x, border, constant_values=-np.inf) if layer.op == "max_pool" else x
    shares = gradient / _counts(layer) if layer.op == "avg_pool" else gradient
    total = np.zeros((len(x), x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3]), np.float32)
    for row, column, tap in _taps(layer):
        if layer.weight is not None:
            total[tap] += gradient @ layer.weight[:, row, column]
        else:
            total[tap] += shares if layer.op == "avg_pool" else shares * (padded[tap] == y)
    return total[:, top : top + x.shape[1], left : left + x.shape[2]]


def _taps(layer: Layer) -> Iterator[tuple[int, int, Tap]]:
    """Each position of the window with the padded inputs that it sees."""
    height, width, _ = layer.output_shape
    down, across = layer.stride
    for row in range(layer.kernel[0]):
        for column in range(layer.kernel[1]):
            rows = slice(row, row + down * (height - 1) + 1, down)
            yield row, column, (slice(None), rows, slice(column, column + across * (width - 1) + 1, across))


def _counts(layer: Layer) -> Array:
    present = np.ones((1, *layer.input_shape[:2], 1), np.float32)
    view = windows(present, Window(layer.kernel, layer.stride, layer.padding), float(layer.count_include_pad))
    return np.asarray(view.sum(axis=(3, 4)))
