"""What an approximation may look at beside the layer itself: the layer's calibration data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from network.approximations.stages import Index
from network.forward import activations
from network.layers import Layer, Network
from network.quantization import QParams, tensor_qparams
from network.samples import Samples
from network.sensitivity import sensitivities

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
    read: tuple[QParams, ...]
    """How each tensor that it reads is stored in uint8."""
    output_qparams: QParams
    last: bool
    """Whether the layer is one of the network's outputs, which are float32."""
    sensitivity: NDArray[np.float64] | None = None
    """``(co, co)``, of layers with weights: which errors ahead of the activation matter."""

    @property
    def input_qparams(self) -> QParams:
        """Of the first tensor that it reads: that of ``inputs``."""
        return self.read[0]

    def limited(self, reads: Index | None, writes: Index | None) -> Context:
        """The same with these input and output channels only; None is all of them."""
        sensitivity = self.sensitivity
        if writes is not None and sensitivity is not None:
            sensitivity = sensitivity[np.ix_(writes, writes)]
        return replace(
            self,
            inputs=self.inputs if reads is None else self.inputs[..., reads],
            outputs=self.outputs if writes is None else self.outputs[..., writes],
            sensitivity=sensitivity,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Calibration:
    activations: dict[str, NDArray[np.float32]]
    sensitivities: dict[str, NDArray[np.float64]]


def contexts(network: Network, samples: Samples) -> dict[str, Context]:
    """The context of every layer, by name. Large tensors are kept for the first samples only."""
    calibration = _calibrate(network, samples)
    qparams = tensor_qparams(network, calibration.activations)
    return {layer.name: _context(layer, network, calibration, qparams) for layer in network.layers}


def _context(
    layer: Layer, network: Network, calibration: _Calibration, qparams: dict[str, QParams]
) -> Context:
    source = layer.inputs[0] if layer.inputs else layer.name
    inputs, outputs = calibration.activations[source], calibration.activations[layer.name]
    count = min(len(inputs), len(outputs))
    return Context(
        inputs[:count],
        outputs[:count],
        tuple(qparams[name] for name in layer.inputs or (layer.name,)),
        qparams[layer.name],
        last=network.answers(layer),
        sensitivity=calibration.sensitivities.get(layer.name),
    )


def _calibrate(network: Network, samples: Samples) -> _Calibration:
    """One pass forward and one backward, over so few samples at a time that all tensors fit."""
    sizes = {layer.name: 4 * prod(layer.output_shape) for layer in network.layers}
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in sizes}
    totals: dict[str, NDArray[np.float64]] = {}
    step = max(1, CHUNK_BYTES // sum(sizes.values()))
    for start in range(0, len(samples), step):
        values = activations(network, samples.part(slice(start, start + step)))
        for name, sensitivity in sensitivities(network, values).items():
            totals[name] = totals[name] + sensitivity if name in totals else sensitivity
        for name, kept in values.items():
            room = max(1, KEPT_BYTES // sizes[name]) - start
            if room > 0:
                parts[name].append(kept[:room].copy())
    return _Calibration({name: np.concatenate(arrays) for name, arrays in parts.items()}, totals)
