"""What the engines are given: samples of a network, with labels to count right answers by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.networks import SHIPPED
from benchmarks.onnxruntime_rival import Rival, classes
from network.layers import Network
from network.samples import Samples, load_samples

PIXELS = 1 / 255
"""The examples were trained on pixels from 0 to 1."""
DATA = Path(__file__).parents[1] / "examples" / "fashion_mnist"
RANDOM_SAMPLES = 32
"""For calibration, and as many for evaluation; networks with random weights tell hardly anything apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Samples that int8 is fitted to, and inputs with the classes that are right for them."""

    calibration: Samples
    inputs: tuple[NDArray[np.float32], ...]
    """``(n, channels, height, width)`` for each."""
    right: NDArray[np.int64]
    """Of each output, at each position, in a row."""

    def accuracy(self, outputs: Sequence[NDArray[np.float32]]) -> float:
        """Share of the classes that these answers have right."""
        return float((classes(outputs) == self.right).mean())


def data_of(name: str, network: Network, model: Path, calibration: int, evaluation: int) -> Data:
    """Images for a shipped network, at most so many.

    For one with random weights normal noise, and classes that ONNX Runtime's float32 gives: "accuracy" is
    then the share of answers that agree with it.
    """
    if name in SHIPPED:
        fitted = load_samples(DATA / "calibration.npz", network, PIXELS).take(calibration)
        counted = load_samples(DATA / "evaluation.npz", network, PIXELS).take(evaluation)
        return Data(fitted, (counted.x,), counted.y)
    random = np.random.default_rng(0)
    (x, *others), inputs = (
        tuple(
            random.standard_normal((RANDOM_SAMPLES, *shape), dtype=np.float32)
            for shape in network.input_shapes.values()
        )
        for _ in range(2)
    )
    fitted = Samples(x, np.zeros(len(x), np.int64), tuple(others))
    return Data(fitted, inputs, classes(Rival(model, threads=1).outputs(inputs)))
