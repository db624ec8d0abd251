"""A network on our engine and on ONNX Runtime, interleaved in one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine_data import Data, data_of
from benchmarks.engine_report import FP32, INT8, ORT_FP32, ORT_INT8, NetworkResult, Refused
from benchmarks.interleave import Block, block, fitting_runs, interleave
from benchmarks.machine import kept_to
from benchmarks.networks import model_path
from benchmarks.onnxruntime_rival import Rival, quantized
from benchmarks.our_engine import Engine, Workshop
from benchmarks.peak import peak_block
from network.onnx_import import load

TOLERATED_LOSS = 0.01
"""Of accuracy: a quantized model that answers worse than float32 by more is broken, not fast."""
BLOCK_S = 0.02
"""About as long as a contender runs in one go."""
SPINNING_S = 0.03
"""Longer than any thread pool here waits awake for more work."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent on certainty."""

    seconds: float
    """Of timing, for each contender."""
    calibration: int
    """Samples that both engines' int8 is fitted to, where the network has so many."""
    evaluation: int
    """Samples that accuracies are counted on, where the network has so many."""

    def rounds(self, contenders: Mapping[str, Block], runs: Mapping[str, int]) -> int:
        """Of all contenders, of which each makes so many runs in each."""
        longest = max(runs[name] * seconds(1) for name, seconds in contenders.items())
        return max(8, round(self.seconds / longest))


@dataclass(frozen=True, slots=True, eq=False)
class _Rivals:
    """ONNX Runtime's side, with some number of threads."""

    exact: Rival
    integer: Rival
    form: str
    refused: Refused


def compete(name: str, effort: Effort, cores: tuple[int, ...]) -> Iterator[NetworkResult]:
    """Build every contender, count its right answers, and time them all: on one core, then on all of them.

    Raises NetworkError where we cannot run the network.
    """
    with TemporaryDirectory(prefix="blinknet-benchmark-") as temporary:
        folder = Path(temporary)
        model = model_path(name, folder)
        network = load(model)
        data = data_of(name, network, model, effort.calibration, effort.evaluation)
        workshop = Workshop.of(network, data.calibration)
        forms = quantized(model, data.calibration.inputs, folder)
        for used in (cores[-1:], cores)[: len(cores)]:
            with kept_to(used):
                ours = workshop.engines(len(used), folder / str(len(used)))
                rivals = _rivals(model, forms, data, len(used))
                yield _contest(name, ours, rivals, data, effort, folder, len(used))


def _contest(
    name: str,
    ours: Mapping[str, Engine],
    rivals: _Rivals,
    data: Data,
    effort: Effort,
    folder: Path,
    threads: int,
) -> NetworkResult:
    first = [each[:1] for each in data.inputs]
    outputs = {
        FP32: _answers(ours["exact"], data.inputs),
        INT8: _answers(ours["int8"], data.inputs),
        ORT_FP32: rivals.exact.outputs(data.inputs),
        ORT_INT8: rivals.integer.outputs(data.inputs),
    }
    warm_s = SPINNING_S if threads > 1 else 0.0
    contenders = {
        FP32: block(partial(ours["exact"].session.run, *first), warm_s),
        INT8: block(partial(ours["int8"].session.run, *first), warm_s),
        ORT_FP32: block(rivals.exact.run, warm_s),
        ORT_INT8: block(rivals.integer.run, warm_s),
    }
    runs = fitting_runs(contenders, BLOCK_S)
    times = interleave(contenders, effort.rounds(contenders, runs), runs)
    sums, share = {}, None
    if threads == 1:
        kernels: dict[str, Block] = {FP32: ours["exact"].kernels, INT8: ours["int8"].kernels}
        sums = interleave(kernels, 5, dict.fromkeys(kernels, 3))
        share = _share_of_peak(ours["exact"], folder)
    return NetworkResult(
        name,
        threads,
        times,
        {name: each.median_s for name, each in sums.items()},
        {name: data.accuracy(each) for name, each in outputs.items()},
        max(map(_difference, outputs[FP32], outputs[ORT_FP32])),
        len(data.inputs[0]),
        rivals.form,
        rivals.refused,
        share,
    )


def _answers(engine: Engine, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    answers = engine.session.run(*inputs)
    return list(answers.values()) if isinstance(answers, dict) else [answers]


def _difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The largest, as a share of the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _share_of_peak(engine: Engine, folder: Path) -> float:
    """Of the processor's rate of multiply-adds, how much all convolutions together reach."""
    peak, operations = peak_block(engine.target, folder)
    contenders: dict[str, Block] = {"peak": peak, "convolutions": engine.convolutions}
    times = interleave(contenders, 5, {"peak": 5, "convolutions": 3})
    rate = engine.convolution_macs / times["convolutions"].median_s
    return rate / (operations / times["peak"].lower_s)


def _rivals(model: Path, forms: Mapping[str, Path], data: Data, threads: int) -> _Rivals:
    """The fastest quantized form that answers right, and the accuracy of those that do not."""
    exact = Rival(model, threads)
    floor = data.accuracy(exact.outputs(data.inputs)) - TOLERATED_LOSS
    rivals = {name: Rival(path, threads) for name, path in forms.items()}
    accuracy = {name: data.accuracy(each.outputs(data.inputs)) for name, each in rivals.items()}
    right = {name: each for name, each in rivals.items() if accuracy[name] >= floor}
    if not right:
        best = max(accuracy.values())
        right = {name: each for name, each in rivals.items() if accuracy[name] == best}
    warm_s = SPINNING_S if threads > 1 else 0.0
    blocks = {name: block(each.run, warm_s) for name, each in right.items()}
    times = interleave(blocks, 10, fitting_runs(blocks, BLOCK_S))
    fastest = min(times, key=lambda name: times[name].median_s)
    refused = {name: share for name, share in accuracy.items() if name not in right}
    return _Rivals(exact, rivals[fastest], fastest, refused)
