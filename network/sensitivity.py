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

from network.backward import Step, backward
from network.layers import Network

Array = NDArray[np.float32]
SEED = 0


def sensitivities(network: Network, activations: Mapping[str, Array]) -> dict[str, NDArray[np.float64]]:
    """For each layer with weights ``(co, co)``: F, summed over samples and positions."""
    gradients = {network.layers[-1].name: _likelihood_gradient(activations[network.layers[-1].name])}
    found = {}
    for layer in reversed(network.layers[1:]):
        inputs, y = [activations[name] for name in layer.inputs], activations[layer.name]
        gradient = gradients.pop(layer.name)
        if layer.relu:
            gradient = gradient * ((y > 0) & (y < (layer.limit or np.inf)))
        if layer.has_weights:
            rows = gradient.reshape(-1, gradient.shape[3])
            found[layer.name] = (rows.T @ rows).astype(np.float64)
        for name, share in zip(layer.inputs, backward(Step(layer, inputs, y, gradient)), strict=True):
            gradients[name] = gradients[name] + share if name in gradients else share
    return found


def _likelihood_gradient(logits: Array) -> Array:
    flat = logits.reshape(len(logits), -1)
    share = np.exp(flat - flat.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    drawn = np.random.default_rng(SEED).random((len(flat), 1))
    labels = (share.cumsum(axis=1) < drawn).sum(axis=1).clip(max=flat.shape[1] - 1)
    share[np.arange(len(flat)), labels] -= 1
    return np.asarray(share.reshape(logits.shape))
