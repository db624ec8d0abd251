"""A network that is made and compiled in a moment, with everything that a run derives from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from network.approximations import Catalogue, catalogue
from network.layers import Network
from network.onnx_import import load
from network.samples import Samples
from network.variants import Fitted
from tests.network.onnx_files import chain, save

METHODS = ("int8", "channels")


@dataclass(frozen=True, eq=False)
class Small:
    """Two convolutions, a pool and a dense layer: 3x8x8 pixels, four classes."""

    path: Path
    network: Network
    samples: Samples
    known: Catalogue

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.network.layers)

    def fitted(self, layer: str, key: str) -> Fitted:
        return self.known.fitted(self.known.variant(layer, key))


def make(path: Path) -> Small:
    """Write the network to ``path`` and prepare it."""
    network = load(_write(path))
    random = np.random.default_rng(3)
    x = random.normal(size=(40, 3, 8, 8)).astype(np.float32)
    samples = Samples(x, np.arange(40) % 4)
    return Small(path, network, samples, catalogue(network, samples, METHODS))


def _write(path: Path) -> Path:
    random = np.random.default_rng(4)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(0, 0.2, shape).astype(np.float32)

    padded = {"pads": [1, 1, 1, 1]}
    steps = (
        ("Conv", ["v"], padded),
        ("Relu", [], {}),
        ("Conv", ["w"], padded),
        ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", [], {}),
        ("Gemm", ["d"], {"transB": 1}),
    )
    weights = {"v": normal(8, 3, 3, 3), "w": normal(8, 8, 3, 3), "d": normal(4, 8 * 4 * 4)}
    return save(path, chain(*steps), weights, shape=(1, 3, 8, 8))
