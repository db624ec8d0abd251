"""A bundle beside its exact one and ONNX Runtime, interleaved in one process.

Ours run as a user runs them: ``runtime.load``, ``Session.run`` on a numpy array, copies included.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import runtime
from benchmarks.approximations_report import FASTEST, Contest
from benchmarks.contest import BLOCK_S, TOLERATED_LOSS, Effort
from benchmarks.engine_data import data_of
from benchmarks.engine_report import FP32, ORT_FP32, ORT_INT8
from benchmarks.interleave import block, fitting_runs, interleave
from benchmarks.networks import SHIPPED
from benchmarks.onnxruntime_rival import Rival, classes, quantized
from network.answers import Answers
from network.onnx_import import load
from network.samples import Samples
from workers.accuracy import divergence


def compete(network: str, fastest: Path, exact: Path, effort: Effort) -> Contest:
    """Count everybody's right answers, and time those that answer right. Raises errors of our packages."""
    model = SHIPPED[network]
    data = data_of(network, load(model), model, effort.calibration, effort.evaluation)
    (x,) = data.inputs
    sessions = {FASTEST: runtime.load(fastest), FP32: runtime.load(exact)}
    rivals = _rivals(model, data.calibration)
    outputs: dict[str, Answers] = {name: (each.run(x),) for name, each in sessions.items()}
    outputs |= {name: tuple(each.outputs([x])) for name, each in rivals.items()}
    right = {name: classes(each) == data.right for name, each in outputs.items()}
    accuracy = {name: float(each.mean()) for name, each in right.items()}
    blocks = {name: block(partial(each.run, x[:1])) for name, each in sessions.items()}
    blocks |= {name: block(rivals[name].run) for name in _sound(rivals, accuracy)}
    runs = fitting_runs(blocks, BLOCK_S)
    times = interleave(blocks, effort.rounds(blocks, runs), runs)
    changed = float((right[FASTEST] != right[FP32]).mean())
    return Contest(times, accuracy, len(x), _per_root_nat(changed, outputs))


def _rivals(model: Path, calibration: Samples) -> dict[str, Rival]:
    """ONNX Runtime with the network as it is, and in every form of int8; one thread each."""
    with TemporaryDirectory(prefix="blinknet-benchmark-") as folder:
        forms = {ORT_FP32: model} | {
            f"{ORT_INT8}, {name}": path
            for name, path in quantized(model, calibration.inputs, Path(folder)).items()
        }
        return {name: Rival(path, threads=1) for name, path in forms.items()}


def _sound(rivals: Mapping[str, Rival], accuracy: Mapping[str, float]) -> list[str]:
    """Those that answer right; all of them where float32 alone does."""
    floor = accuracy[ORT_FP32] - TOLERATED_LOSS
    right = [name for name in rivals if accuracy[name] >= floor]
    return right if len(right) > 1 else list(rivals)


def _per_root_nat(changed: float, outputs: Mapping[str, Answers]) -> float:
    """A share of changed answers by the root of the divergence."""
    return changed / sqrt(divergence(outputs[FP32], outputs[FASTEST])) if changed else 0.0
