from dataclasses import dataclass

import numpy as np
import pytest

from cluster.planning import ClassPlan, plan_class
from network.approximations import contexts, variants
from network.layers import Network
from network.onnx_import import load
from network.samples import Samples
from network.target import Target
from network.variants import Variant
from tests.network.onnx_files import chain, normal, save

METHODS = ("int8", "channels")


@dataclass(frozen=True, eq=False)
class Small:
    """Two convolutions and a dense layer on 8x8 pixels, planned for the oldest x86 level."""

    network: Network
    samples: Samples
    variants: dict[str, tuple[Variant, ...]]
    plan: ClassPlan


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    conv = {"pads": [1, 1, 1, 1]}
    steps = (
        ("Conv", ["v"], conv),
        ("Relu", [], {}),
        ("Conv", ["w"], conv),
        ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", [], {}),
        ("Gemm", ["d"], {"transB": 1}),
    )
    weights = {"v": normal(8, 3, 3, 3), "w": normal(8, 8, 3, 3), "d": normal(4, 8 * 4 * 4)}
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    network = load(save(path, chain(*steps), weights, shape=(1, 3, 8, 8)))
    samples = Samples(normal(24, 3, 8, 8), np.arange(24) % 4)
    known = contexts(network, samples)
    every = {layer.name: tuple(variants(layer, known[layer.name], METHODS, None)) for layer in network.layers}
    target = Target("x86_64-linux-gnu", "x86-64-v2", ())
    return Small(network, samples, every, plan_class("lab", target, network, every))
