"""What the engines are given: samples of a network, with labels to count right answers by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    """Samples that int8 is fitted to, and samples that answers are counted on."""

    calibration: Samples
    evaluation: Samples


def data_of(name: str, network: Network, model: Path, calibration: int, evaluation: int) -> Data:
    """Images for a shipped network, at most so many.

    For one with random weights normal noise, and labels that ONNX Runtime's float32 gives: "accuracy" is
    then the share of answers that agree with it.
    """
    if name in SHIPPED:
        return Data(
            load_samples(DATA / "calibration.npz", network, PIXELS).take(calibration),
            load_samples(DATA / "evaluation.npz", network, PIXELS).take(evaluation),
        )
    random = np.random.default_rng(0)
    shape = (RANDOM_SAMPLES, *network.input_shape)
    x, unlabelled = (random.standard_normal(shape, dtype=np.float32) for _ in range(2))
    labels = classes(Rival(model, threads=1).outputs(unlabelled))
    return Data(Samples(x, np.zeros(len(x), np.int64)), Samples(unlabelled, labels))
