"""Calibration data as a regression problem: sampled windows of a layer's input and what they must give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from network.approximations.context import Context
from network.approximations.stages import Convolve
from network.windows import windows

ROWS = 16_384
SEED = 0
ITERATIONS = 8
"""Of a fit behind a ReLU: what its targets are depends on what is predicted."""
SEEN = 0.8
"""Share of the rows that a ridge is tried on before the others judge it."""
RIDGES = np.logspace(-4, 2, 7)
"""Choices, as shares of the mean variance of the inputs."""
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


def sample_windows(stage: Convolve, context: Context) -> tuple[Matrix, Matrix]:
    """At most ROWS windows of what it reads ``(rows, kh * kw * ci)``, with the outputs ``(rows, co)``.

    Always the same windows.
    """
    view = windows(stage.read(context.inputs), stage.window)
    chosen = _choose(view.shape[:3])
    return np.ascontiguousarray(view[chosen].reshape(len(chosen[0]), -1)), context.outputs[chosen]


def some_windows(stage: Convolve, x: Matrix) -> Matrix:
    """At most ROWS windows ``(rows, kh * kw * ci)`` of these samples of its input."""
    view = windows(stage.read(x), stage.window)
    chosen = _choose(view.shape[:3])
    return np.ascontiguousarray(view[chosen].reshape(len(chosen[0]), -1))


def mean_window(stage: Convolve, x: Matrix) -> Exact:
    """What its weights make of kept channels ``(n, h, w, c)``, in the mean over samples and positions."""
    image = x.mean(axis=0, dtype=np.float64, keepdims=True)
    seen = windows(image, stage.window).mean(axis=(0, 1, 2))
    split = seen.reshape(*stage.kernel, stage.groups, -1).transpose(2, 0, 1, 3).reshape(stage.groups, -1, 1)
    weight = stage.weight.reshape(stage.groups, len(stage.weight) // stage.groups, -1)
    return np.asarray((weight @ split).reshape(-1))


def sample_rows(stage: Convolve, context: Context) -> Rows:
    """What the weights make of sampled windows, as a regression problem."""
    weight = stage.weight
    x, _ = sample_windows(stage, context)
    y = x @ weight.reshape(len(weight), -1).T + stage.bias
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    return Rows(x - x_mean, x_mean, y - y_mean, y_mean, _metric(context, len(weight)))


def inverse_covariance(x: Matrix) -> Exact:
    """Of centred rows ``(rows, columns)``, shrunk as far as so few rows ask for."""
    covariance = (x.T @ x).astype(np.float64) / len(x)
    covariance += shrinkage(covariance, len(x)) * np.eye(len(covariance))
    return np.asarray(np.linalg.inv(covariance), np.float64)


def ridge_inverse(x: Matrix, missing: Matrix) -> Exact:
    """Of the covariance of centred rows, with the ridge that serves rows best that did not choose it.

    Rows come image by image, so the last ones are other images. Least squares where rows abound; where they
    are few the ridge grows until hardly anything changes.
    """
    seen = round(SEEN * len(x))
    covariance, cross = _moments(x[:seen], missing[:seen])
    ridges = RIDGES * np.trace(covariance) / len(covariance) + np.finfo(np.float64).tiny
    errors = [
        np.square(missing[seen:] - x[seen:] @ _ridge(covariance, cross, each), dtype=np.float64).sum()
        for each in ridges
    ]
    whole = (x.T @ x).astype(np.float64) / len(x)
    return np.asarray(np.linalg.inv(whole + ridges[int(np.argmin(errors))] * np.eye(len(whole))))


def _moments(x: Matrix, y: Matrix) -> tuple[Exact, Exact]:
    return (x.T @ x).astype(np.float64) / len(x), (x.T @ y).astype(np.float64) / len(x)


def _ridge(covariance: Exact, cross: Exact, ridge: float) -> Matrix:
    solved = solve(covariance + ridge * np.eye(len(covariance)), cross, assume_a="pos")
    return np.asarray(solved, np.float32)


def regress(
    x: Matrix, targets: Matrix, inverse: Exact, start: tuple[Exact, Matrix], relu: bool
) -> tuple[Exact, Matrix]:
    """Weights ``(columns, co)`` of centred ``x`` and mean outputs that come closest to the targets.

    ``inverse`` is that of the covariance of ``x``; its shrinkage holds the weights near where they start.
    """
    weight, mean = start
    for _ in range(ITERATIONS if relu else 1):
        predicted = x @ weight.astype(np.float32) + mean
        missing = behind_relu(targets, predicted, relu) - predicted
        mean = mean + missing.mean(axis=0)
        weight = weight + inverse @ ((x.T @ missing).astype(np.float64) / len(x))
    return weight, mean


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
    # Inputs that are all zero, behind a dead ReLU, need a ridge as well.
    return max(share / (1 - share), 1e-6) * trace / size + float(np.finfo(np.float32).tiny)


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
