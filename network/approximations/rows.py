"""Calibration data as a regression problem: sampled windows of a layer's input and what they must give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.stages import weights
from network.layers import Layer
from network.windows import Window, windows

ROWS = 16_384
SEED = 0
SENSITIVITY_FLOOR = 0.02
"""Of the mean sensitivity, added to all: what no sample was sensitive to may still matter to others."""

Matrix = NDArray[np.float32]
Exact = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A regression problem, centred."""

    x: Matrix
    """``(rows, kh * kw * ci)``."""
    x_mean: Matrix
    y: Matrix
    """``(rows, co)``, ahead of the activation."""
    y_mean: Matrix
    metric: Exact
    """``(co, co)``, symmetric: an error ``e`` of the outputs counts as ``|metric @ e|**2``."""


def sample_rows(layer: Layer, context: Context) -> Rows:
    """At most ROWS windows of the layer's calibration inputs, the same ones every time."""
    weight, bias = weights(layer)
    view = windows(context.inputs, Window(layer.kernel, layer.stride, layer.padding))
    chosen = _choose(view.shape[:3])
    x = np.ascontiguousarray(view[chosen].reshape(len(chosen[0]), -1))
    y = x @ weight.reshape(len(weight), -1).T + bias
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    return Rows(x - x_mean, x_mean, y - y_mean, y_mean, _metric(context, len(weight)))


def shrinkage(covariance: Exact, rows: int) -> float:
    """The ridge to add to a sample covariance of so few rows: oracle approximating shrinkage.

    Chen, Wiesel, Eldar, Hero 2010, "Shrinkage Algorithms for MMSE Covariance Estimation", equation 23,
    written as a ridge. Without it a dense layer with more inputs than samples would fit noise.
    """
    size = len(covariance)
    squares, trace = float(np.sum(covariance * covariance)), float(np.trace(covariance))
    spread = (rows + 1 - 2 / size) * (squares - trace**2 / size)
    share = ((1 - 2 / size) * squares + trace**2) / spread if spread > 0 else 1.0
    share = min(share, 0.5)
    return max(share / (1 - share), 1e-6) * trace / size


def behind_relu(y: Matrix, predicted: Matrix, relu: bool) -> Matrix:
    """What a prediction of ``y`` should have been, if only its ReLU counts.

    Where ``y`` is negative any negative prediction is right, so it stays as it is. Fitting to this target in
    turn with predicting lowers the error behind the ReLU (Zhang et al. 2016, section 3.2).
    """
    return np.where(y > 0, y, np.minimum(predicted, 0)) if relu else y


def _metric(context: Context, outputs: int) -> Exact:
    """The square root of the sensitivity; all outputs alike where none is known."""
    if context.sensitivity is None or not context.sensitivity.any():
        return np.eye(outputs)
    sensitivity = context.sensitivity * outputs / np.trace(context.sensitivity)
    values, vectors = np.linalg.eigh(sensitivity + SENSITIVITY_FLOOR * np.eye(outputs))
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T)


def _choose(shape: tuple[int, ...]) -> tuple[NDArray[np.intp], ...]:
    count = int(np.prod(shape))
    flat = np.arange(count)
    if count > ROWS:
        flat = np.sort(np.random.default_rng(SEED).choice(count, ROWS, replace=False))
    return np.unravel_index(flat, shape)
