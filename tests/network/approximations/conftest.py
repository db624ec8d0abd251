from __future__ import annotations

import numpy as np
import pytest

from network.approximations import catalogue
from network.layers import Layer, Network
from network.samples import Samples


@pytest.fixture(scope="session")
def network() -> Network:
    """Every operator, a first layer with several channels, odd sizes, stride, uneven padding."""
    rng = np.random.default_rng(11)

    def weights(co, kh, kw, ci):
        weight = rng.normal(size=(co, kh, kw, ci)) / np.sqrt(kh * kw * ci)
        return {"weight": weight.astype(np.float32), "bias": 0.1 * rng.normal(size=co).astype(np.float32)}

    window = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}
    pool = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 1, 1, 0), "count_include_pad": True}
    layers = (
        Layer("input", "input", (), (11, 10, 3), (11, 10, 3)),
        Layer("conv1", "conv2d", ("input",), (11, 10, 3), (11, 10, 16), **window, **weights(16, 3, 3, 3)),
        Layer("pool1", "avg_pool", ("conv1",), (11, 10, 16), (6, 5, 16), **pool),
        Layer("relu1", "relu", ("pool1",), (6, 5, 16), (6, 5, 16), relu=True),
        Layer(
            "conv2",
            "conv2d",
            ("relu1",),
            (6, 5, 16),
            (3, 5, 24),
            kernel=(3, 3),
            stride=(2, 1),
            padding=(1, 1, 0, 1),
            relu=True,
            **weights(24, 3, 3, 16),
        ),
        Layer("pool2", "max_pool", ("conv2",), (3, 5, 24), (2, 4, 24), kernel=(2, 2)),
        Layer(
            "fc",
            "dense",
            ("pool2",),
            (2, 4, 24),
            (1, 1, 20),
            kernel=(2, 4),
            relu=True,
            **weights(20, 2, 4, 24),
        ),
        Layer("out", "dense", ("fc",), (1, 1, 20), (1, 1, 12), **weights(12, 1, 1, 20)),
    )
    return Network("small", "0" * 64, layers)


@pytest.fixture(scope="session")
def samples() -> Samples:
    """Smooth images: neighbours say much about each other, as in photographs."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=(200, 3, 13, 12))
    smooth = sum(x[:, :, i : i + 11, j : j + 10] for i in range(3) for j in range(3)) / 3
    return Samples(smooth.astype(np.float32), np.zeros(200, np.int64))


@pytest.fixture(scope="session")
def known(network, samples):
    return catalogue(network, samples)
