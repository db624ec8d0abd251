"""Well-known networks, every layer compiled, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from benchmarks.networks import NETWORKS, SHIPPED, model_path
from cluster.planning import plan_class
from network.approximations import catalogue
from network.execute import Executor, first_tiles
from network.onnx_import import load
from network.samples import Samples
from network.target import Target


@pytest.mark.parametrize("name", [*SHIPPED, *NETWORKS])
def test_exact_answers_are_onnx_runtime_s(name: str, tmp_path: Path) -> None:
    model = model_path(name, tmp_path)
    network = load(model)
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((2, *each), dtype=np.float32) for each in network.input_shapes.values()]
    samples = Samples(inputs[0], np.zeros(2, np.int64), tuple(inputs[1:]))
    known = catalogue(network, samples, ["exact"])
    target = Target.host()
    choices = {
        each.layer: first_tiles(known.fitted(known.variant(each.layer, each.key)), target.isa)
        for each in plan_class("host", target, known).table.uniform("exact")
    }
    ours = Executor(target).run(network, choices, *inputs)
    session = onnxruntime.InferenceSession(model)
    sources = session.get_inputs()
    for index in range(2):
        feed = {s.name: x[index].reshape(s.shape) for s, x in zip(sources, inputs, strict=True)}
        for mine, theirs in zip(ours, session.run(None, feed), strict=True):
            difference = np.abs(mine[index].reshape(theirs.shape) - theirs).max()
            assert difference <= 1e-4 * np.abs(theirs).max()
