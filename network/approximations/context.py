"""What an approximation may look at beside the layer itself: the layer's calibration data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from network.layers import Layer, Network
from network.quantization import QParams, tensor_qparams
from network.reference import activations
from network.samples import Samples

KEPT_BYTES = 64 << 20
"""Of each tensor: enough for every fit, and memory stays bounded whatever the network and the samples."""
CHUNK_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """A layer's inputs and outputs in the exact network."""

    inputs: NDArray[np.float32]
    """``(n, h, w, c)``."""
    outputs: NDArray[np.float32]
    """``(n, oh, ow, co)``, behind the activation, for the same samples."""
    input_qparams: QParams
    output_qparams: QParams
    last: bool
    """Whether the layer is the network's output, which is float32."""


def contexts(network: Network, samples: Samples) -> dict[str, Context]:
    """The context of every layer, by name. Large tensors are kept for the first samples only."""
    kept = _kept_activations(network, samples)
    qparams = tensor_qparams(network, kept)
    return {layer.name: _context(layer, network, kept, qparams) for layer in network.layers}


def _context(
    layer: Layer, network: Network, kept: dict[str, NDArray[np.float32]], qparams: dict[str, QParams]
) -> Context:
    source = layer.inputs[0] if layer.inputs else layer.name
    inputs, outputs = kept[source], kept[layer.name]
    count = min(len(inputs), len(outputs))
    last = layer is network.layers[-1]
    return Context(inputs[:count], outputs[:count], qparams[source], qparams[layer.name], last)


def _kept_activations(network: Network, samples: Samples) -> dict[str, NDArray[np.float32]]:
    sizes = {layer.name: 4 * int(np.prod(layer.output_shape)) for layer in network.layers}
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in sizes}
    step = max(1, CHUNK_BYTES // sum(sizes.values()))
    for start in range(0, len(samples), step):
        chunk = Samples(samples.x[start : start + step], samples.y[start : start + step])
        for name, values in activations(network, chunk).items():
            room = max(1, KEPT_BYTES // sizes[name]) - start
            if room > 0:
                parts[name].append(values[:room].copy())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
