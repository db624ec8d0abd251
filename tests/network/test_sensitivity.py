from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from network.backward import Step, backward
from network.forward import activations, run_layer
from network.layers import Layer, Network
from network.samples import Samples
from network.sensitivity import sensitivities

RNG = np.random.default_rng(5)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


WINDOW = {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0, 0, 1)}
LAYERS = {
    "conv2d": Layer(
        "l", "conv2d", ("input",), (7, 6, 3), (3, 6, 5), weight=normal(5, 3, 2, 3), bias=normal(5), **WINDOW
    ),
    "max_pool": Layer("l", "max_pool", ("input",), (7, 6, 3), (3, 6, 3), **WINDOW),
    "avg_pool": Layer("l", "avg_pool", ("input",), (7, 6, 3), (3, 6, 3), **WINDOW),
    "avg_pool with padding": Layer(
        "l", "avg_pool", ("input",), (7, 6, 3), (3, 6, 3), count_include_pad=True, **WINDOW
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_backward_is_the_gradient(kind):
    layer = LAYERS[kind]
    x, change = normal(4, 7, 6, 3), 1e-3 * normal(4, 7, 6, 3)
    y = run_layer(layer, x)
    gradient = normal(*y.shape)
    difference = (run_layer(layer, x + change) - run_layer(layer, x - change)) / 2
    # Both sides are the change of the same scalar: a wrong tap, stride or padding separates them.
    expected = float((gradient.astype(np.float64) * difference).sum())
    found = float((backward(Step(layer, (x,), y, gradient))[0].astype(np.float64) * change).sum())
    assert found == pytest.approx(expected, rel=5e-3, abs=1e-4)


def test_sensitivity_predicts_the_divergence_of_a_small_error():
    narrow, wide = (1, 1, 6), (1, 1, 8)
    first = Layer(
        "a", "dense", ("input",), narrow, wide, weight=normal(8, 1, 1, 6), bias=normal(8), relu=True
    )
    second = Layer("b", "dense", ("a",), (1, 1, 8), (1, 1, 4), weight=normal(4, 1, 1, 8), bias=normal(4))
    layers = (Layer("input", "input", (), (1, 1, 6), (1, 1, 6)), first, second)
    network = Network("n", "0" * 64, layers)
    samples = Samples(normal(20_000, 6, 1, 1), np.zeros(20_000, np.int64))
    known = activations(network, samples)
    fisher = sensitivities(network, known)["a"] / len(samples)
    error = 0.02 * normal(8)
    moved = run_layer(second, run_layer(replace(first, bias=first.bias + error), known["input"]))
    divergence = _divergence(known["b"][:, 0, 0], moved[:, 0, 0])
    assert error @ fisher @ error / 2 == pytest.approx(divergence, rel=0.1)


def _divergence(exact, changed):
    def log_softmax(x):
        x = x.astype(np.float64)
        return x - np.log(np.exp(x).sum(axis=1, keepdims=True))

    p, q = log_softmax(exact), log_softmax(changed)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())
