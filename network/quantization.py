"""Affine 8-bit quantization: asymmetric uint8 activations a tensor, symmetric int8 weights a channel.

The scheme of Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference"; ranges are those with the least squared error on calibration data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.layers import Network

LEVELS = 255
CLIPPED_PERCENT = (0.0, 0.01, 0.1)
"""Shares of the values beyond the range on either side: min-max, and what ignores rare outliers."""
CALIBRATION_VALUES = 1 << 20
"""More values than this change neither percentiles nor errors visibly; they cost time."""
WEIGHT_RANGES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
"""Shares of the largest weight of a channel that the integers reach to: the fewer there are, the less."""
WEIGHT_LEVELS = 127
PASS_ON = {"max_pool", "avg_pool", "relu", "resize", "concat", "output"}
"""Operators whose output lies within their inputs' range, and is written as it is read."""


@dataclass(frozen=True, slots=True)
class QParams:
    """A uint8 ``q`` stands for ``scale * (q - zero_point)``; zero is exact."""

    scale: float
    zero_point: int

    def quantize(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Round half to even and saturate, as the kernels do."""
        stored = np.rint(values / np.float32(self.scale) + self.zero_point)
        return np.asarray(stored.clip(0, LEVELS), np.uint8)

    def dequantize(self, values: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The values that the integers stand for."""
        return np.float32(self.scale) * (values.astype(np.float32) - self.zero_point)


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedWeight:
    """``scale[channel] * values[channel]`` stands for a weight."""

    values: NDArray[np.int8]
    """``(co, kh, kw, ci)``, from minus its levels to its levels."""
    scale: NDArray[np.float32]
    """``(co,)``."""

    def dequantize(self) -> NDArray[np.float32]:
        """The weight that the integers stand for."""
        return self.values * self.scale[:, None, None, None]


def calibrate(values: NDArray[np.float32]) -> QParams:
    """The range (min-max or without rare outliers) that stores these values with the least squared error."""
    flat = _thin(values)
    candidates = dict.fromkeys(_covering(*_range(flat, clipped)) for clipped in CLIPPED_PERCENT)
    return min(candidates, key=lambda each: _squared_error(flat, each))


def tensor_qparams(network: Network, activations: Mapping[str, NDArray[np.float32]]) -> dict[str, QParams]:
    """For each layer's output, from exact activations.

    Pools and ReLU pass on their input's. What is joined has to have the same before, so a concatenation, its
    inputs and whatever passes those on share the parameters that suit them all.
    """
    found: dict[str, QParams] = {}
    for group in _groups(network):
        origins = [name for name in group if network[name].op not in PASS_ON]
        values = np.concatenate([_thin(activations[name]) for name in origins])
        found |= dict.fromkeys(group, calibrate(values))
    return {layer.name: found[layer.name] for layer in network.layers}


def _groups(network: Network) -> list[list[str]]:
    """Layers whose outputs are stored with the same parameters."""
    groups = {layer.name: [layer.name] for layer in network.layers}
    for layer in network.layers:
        for source in layer.inputs if layer.op in PASS_ON else ():
            if groups[source] is not groups[layer.name]:
                groups[source] += groups[layer.name]
                groups |= dict.fromkeys(groups[layer.name], groups[source])
    return list({id(each): each for each in groups.values()}.values())


def quantize_weight(weight: NDArray[np.float32], levels: int = WEIGHT_LEVELS) -> QuantizedWeight:
    """A weight ``(co, kh, kw, ci)`` in int8, from ``-levels`` to ``levels``.

    Each channel's range is the one with the least squared error.
    """
    rows = weight.reshape(len(weight), -1)
    largest = np.abs(rows).max(axis=1)
    full = np.where(largest > 0, largest, 1.0) / levels
    scales = [(full * share).astype(np.float32) for share in WEIGHT_RANGES]
    errors = [_weight_error(rows, scale, levels) for scale in scales]
    scale = np.choose(np.argmin(errors, axis=0), scales)
    return QuantizedWeight(_rounded(rows, scale, levels).astype(np.int8).reshape(weight.shape), scale)


def _thin(values: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = values.reshape(-1)
    # An odd stride visits every channel: channel counts are mostly even.
    stride = len(flat) // CALIBRATION_VALUES | 1
    return flat[::stride]


def _range(flat: NDArray[np.float32], clipped_percent: float) -> tuple[float, float]:
    low, high = np.percentile(flat, [clipped_percent, 100 - clipped_percent])
    return float(low), float(high)


def _covering(low: float, high: float) -> QParams:
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return QParams(1.0, 0)
    # Kernels hold scales in float32; this is the value that they use.
    scale = float(np.float32((high - low) / LEVELS))
    return QParams(scale, round(-low / scale))


def _squared_error(flat: NDArray[np.float32], qparams: QParams) -> float:
    error = qparams.dequantize(qparams.quantize(flat)) - flat
    return float(np.dot(error, error))


def _rounded(rows: NDArray[np.float32], scale: NDArray[np.float32], levels: int) -> NDArray[Any]:
    return np.asarray(np.rint(rows / scale[:, None]).clip(-levels, levels))


def _weight_error(rows: NDArray[np.float32], scale: NDArray[np.float32], levels: int) -> NDArray[Any]:
    return np.asarray(np.square(_rounded(rows, scale, levels) * scale[:, None] - rows).sum(axis=1))
