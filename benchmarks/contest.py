"""A network on our engine and on ONNX Runtime, interleaved in one process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine_report import FP32, INT8, ORT_FP32, ORT_INT8, NetworkResult
from benchmarks.interleave import Block, block, interleave
from benchmarks.onnxruntime_rival import Rival, quantized
from benchmarks.our_engine import Engine, engines
from network.onnx_import import load
from network.samples import Samples, load_samples

PIXELS = 1 / 255
"""The examples were trained on pixels from 0 to 1."""
TOLERATED_LOSS = 0.01
"""Of accuracy: a quantized model that answers worse than float32 by more is broken, not fast."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent on certainty."""

    rounds: int
    runs: int
    """Of each contender in each round."""
    calibration: int
    """Samples that both engines' int8 is fitted to."""
    evaluation: int
    """Samples that accuracies are counted on."""


def compete(model: Path, data: Path, effort: Effort) -> NetworkResult:
    """Build every contender, count its right answers, and time them all.

    ``data`` is a folder with ``calibration.npz`` and ``evaluation.npz``. Raises NetworkError.
    """
    network = load(model)
    calibration = load_samples(data / "calibration.npz", network, PIXELS).take(effort.calibration)
    evaluation = load_samples(data / "evaluation.npz", network, PIXELS).take(effort.evaluation)
    with TemporaryDirectory(prefix="blinknet-benchmark-") as temporary:
        folder = Path(temporary)
        ours = engines(network, calibration, folder)
        float_rival = Rival(model)
        form, integer_rival, refused = _integer_rival(model, float_rival, calibration, evaluation, folder)
        rivals = {ORT_FP32: float_rival, ORT_INT8: integer_rival}
        sessions = {FP32: ours["exact"].session, INT8: ours["int8"].session}
        accuracy = {name: _accuracy(each.run(evaluation.x), evaluation) for name, each in sessions.items()}
        accuracy |= {name: _accuracy(each.logits(evaluation.x), evaluation) for name, each in rivals.items()}
        times = interleave(_blocks(ours, rivals, evaluation.x[:1]), effort.rounds, effort.runs)
    return NetworkResult(model.parent.name, times, accuracy, form, refused, len(evaluation))


def _blocks(ours: dict[str, Engine], rivals: dict[str, Rival], x: NDArray[np.float32]) -> dict[str, Block]:
    """What is timed. ONNX Runtime finds its sample where it wants it; our sessions copy it in, logits out."""
    blocks: dict[str, Block] = {}
    for name, engine in ((FP32, ours["exact"]), (INT8, ours["int8"])):
        blocks[name] = block(partial(engine.session.run, x))
        blocks[f"{name}, VM alone"] = partial(engine.machine, x)
        blocks[f"{name}, sum of kernels"] = engine.kernels
    return blocks | {name: block(rival.run) for name, rival in rivals.items()}


def _integer_rival(
    model: Path, exact: Rival, calibration: Samples, evaluation: Samples, folder: Path
) -> tuple[str, Rival, dict[str, float]]:
    """The fastest quantized form that answers right, and the accuracy of those that do not."""
    floor = _accuracy(exact.logits(evaluation.x), evaluation) - TOLERATED_LOSS
    rivals = {name: Rival(path) for name, path in quantized(model, calibration.x, folder).items()}
    accuracy = {name: _accuracy(each.logits(evaluation.x), evaluation) for name, each in rivals.items()}
    right = {name: each for name, each in rivals.items() if accuracy[name] >= floor}
    right = right or rivals
    times = interleave({name: block(each.run) for name, each in right.items()}, rounds=15, runs=10)
    fastest = min(times, key=lambda name: times[name].median_s)
    refused = {name: share for name, share in accuracy.items() if name not in right}
    return fastest, rivals[fastest], refused


def _accuracy(logits: NDArray[np.float32], samples: Samples) -> float:
    return float((logits.argmax(axis=1) == samples.y).mean())
