"""How much the network's answer depends on each layer's outputs: the Fisher information, by backpropagation.

An error ``e`` in a layer's outputs ahead of the activation moves the softmax by a Kullback-Leibler divergence
of about ``e @ F @ e / 2``. F is the mean outer product of the gradients of the log-likelihood of labels that
are drawn from the network's own softmax (Amari 1998, "Natural Gradient Works Efficiently in Learning"). As in
K-FAC (Martens, Grosse 2015), one F of the size of the channels stands for all positions and samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from network.backward import RULES, Step, backward
from network.layers import Network

Array = NDArray[np.float32]
SEED = 0


def sensitivities(network: Network, activations: Mapping[str, Array]) -> dict[str, NDArray[np.float64]]:
    """For each layer with weights ``(co, co)``: F, summed over samples and positions.

    Layers whose errors reach an answer through an opaque layer are left out: nothing is known of them.
    """
    gradients: dict[str, Array | None] = {}
    for output in network.outputs:
        _add(gradients, output.layer, _likelihood_gradient(activations[output.layer]))
    found = {}
    for layer in reversed(network.layers[len(network.inputs) :]):
        inputs, y = [activations[name] for name in layer.inputs], activations[layer.name]
        gradient = gradients.pop(layer.name)
        if gradient is None or layer.op not in RULES:
            gradients |= dict.fromkeys(layer.inputs)
            continue
        if layer.relu:
            gradient = gradient * ((y > 0) & (y < (layer.limit or np.inf)))
        if layer.has_weights:
            rows = gradient.reshape(-1, gradient.shape[3])
            found[layer.name] = (rows.T @ rows).astype(np.float64)
        for name, share in zip(layer.inputs, backward(Step(layer, inputs, y, gradient)), strict=True):
            _add(gradients, name, share)
    return found


def _add(gradients: dict[str, Array | None], name: str, share: Array) -> None:
    """What is not known (None) stays so."""
    known = gradients.get(name, np.float32(0))
    gradients[name] = None if known is None else known + share


def _likelihood_gradient(outputs: Array) -> Array:
    """Of an output ``(n, h, w, c)``, the mean over the positions that have a class each."""
    n, height, width, channels = outputs.shape
    shape = (n * height * width, channels) if channels > 1 else (n, -1)
    rows = outputs.reshape(shape)
    share = np.exp(rows - rows.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    drawn = np.random.default_rng(SEED).random((len(rows), 1))
    labels = (share.cumsum(axis=1) < drawn).sum(axis=1).clip(max=rows.shape[1] - 1)
    share[np.arange(len(rows)), labels] -= 1
    return np.asarray(share.reshape(outputs.shape) / np.float32(np.sqrt(len(rows) / n)))
