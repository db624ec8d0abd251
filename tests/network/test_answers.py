"""Networks with maps for answers, with several inputs and several outputs, against ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime
from benchmarks.networks import NETWORKS
from cluster.planning import plan_class
from network.answers import count_right
from network.approximations import Catalogue, catalogue
from network.assemble import Choice, assemble
from network.errors import NetworkError
from network.execute import Executor, first_tiles
from network.forward import activations, answers
from network.layers import Network, with_batch
from network.onnx_import import load
from network.refit import refit
from network.samples import Samples, load_samples
from network.target import Target
from runtime.bundle import write_bundle
from runtime.configuration import Configuration, Costs
from runtime.errors import SampleError
from tests.network.onnx_files import normal
from workers.accuracy import Bench, evaluate_configuration, evaluate_layer, exact_answers

COUNT = 6
TARGET = Target.host()


def node(kind: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


CONV = {"pads": [1, 1, 1, 1]}
W = {"w": normal(8, 3, 3, 3), "v": normal(4, 8, 1, 1), "d": normal(5, 8)}


@dataclass(frozen=True)
class Graph:
    """Nodes with the inputs of the network that they are, and the ranks of its outputs."""

    nodes: tuple[onnx.NodeProto, ...]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, int]

    def write(self, path: Path, opset: int = 17, batch: int | str = 1) -> Path:
        given = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch, *shape))
            for name, shape in self.inputs.items()
        ]
        found = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}{axis}" for axis in range(rank)])
            for name, rank in self.outputs.items()
        ]
        weights = [numpy_helper.from_array(value, name) for name, value in W.items()]
        graph = helper.make_graph(self.nodes, "g", given, found, weights)
        opsets = [helper.make_opsetid("", opset)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        return path


GRAPHS = {
    "a map": Graph(
        (node("Conv", "in w", "a", **CONV), node("Relu", "a", "b"), node("Conv", "b v", "out")),
        {"in": (3, 6, 5)},
        {"out": 4},
    ),
    "a map with a softmax": Graph(
        (node("Conv", "in w", "a", **CONV), node("Softmax", "a", "out", axis=1)),
        {"in": (3, 6, 5)},
        {"out": 4},
    ),
    "a flattened map": Graph(
        (node("Conv", "in w", "a", **CONV), node("Relu", "a", "b"), node("Flatten", "b", "out")),
        {"in": (3, 6, 5)},
        {"out": 2},
    ),
    "features beside logits": Graph(
        (
            node("Conv", "in w", "a", **CONV),
            node("Relu", "a", "features"),
            node("GlobalAveragePool", "features", "p"),
            node("Flatten", "p", "flat"),
            node("Gemm", "flat d", "logits", transB=1),
        ),
        {"in": (3, 6, 5)},
        {"logits": 2, "features": 4, "flat": 2},
    ),
    "what a relu reads": Graph(
        (node("Conv", "in w", "before", **CONV), node("Relu", "before", "behind")),
        {"in": (3, 6, 5)},
        {"before": 4, "behind": 4},
    ),
    "two images, one of which is read late": Graph(
        (
            node("Conv", "one w", "a", **CONV),
            node("Relu", "a", "b"),
            node("Conv", "two/image:0 w", "c", **CONV),
            node("Add", "b c", "sum"),
            node("GlobalAveragePool", "sum", "p"),
            node("Flatten", "p", "flat"),
            node("Gemm", "flat d", "out", transB=1),
        ),
        {"one": (3, 6, 5), "two/image:0": (3, 6, 5)},
        {"out": 2},
    ),
}


@dataclass(frozen=True)
class Case:
    """A network with samples and what ONNX Runtime answers to them."""

    network: Network
    samples: Samples
    theirs: tuple[np.ndarray, ...]
    known: Catalogue


def _case(path: Path) -> Case:
    network = load(path)
    x, *others = (normal(COUNT, *shape) for shape in network.input_shapes.values())
    samples = Samples(x, np.zeros(COUNT, np.int64), tuple(others))
    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    runs = [
        session.run(
            None, {name: given[index : index + 1] for name, given in zip(names, samples.inputs, strict=True)}
        )
        for index in range(COUNT)
    ]
    theirs = tuple(np.concatenate(each) for each in zip(*runs, strict=True))
    return Case(network, samples, theirs, catalogue(network, samples, ["int8"]))


@pytest.fixture(scope="module", params=[*GRAPHS, "stereo"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    if request.param in GRAPHS:
        return _case(GRAPHS[request.param].write(path))
    onnx.save(NETWORKS[request.param].model(), path)
    return _case(path)


def _choices(case: Case, approximation: str) -> dict[str, Choice]:
    chosen = plan_class("host", TARGET, case.known).table.uniform(approximation)
    variants = {each.layer: case.known.variant(each.layer, each.key) for each in chosen}
    fitted = {name: case.known.fitted(each) for name, each in variants.items()}
    return {name: first_tiles(each, TARGET.isa) for name, each in fitted.items()}


def _session(case: Case, choices: Mapping[str, Choice], folder: Path) -> runtime.Session:
    network = case.network
    assembled = assemble(network, choices, TARGET, folder / "network.so")
    costs = Costs(latency_s=0.0, peak_bytes=0, storage_bytes=0, loss_pp=0.0)
    write_bundle(
        folder / "bundle",
        assembled.path,
        assembled.parameters,
        Configuration(network.name, network.sha256, "host", "local", TARGET.key, (), costs),
        None,
        input_shape=with_batch(network.input_shapes),
        output_shape=with_batch(network.output_shapes),
    )
    return runtime.load(folder / "bundle")


def _agree(mine: tuple[np.ndarray, ...], case: Case, approximation: str) -> None:
    assert [each.shape for each in mine] == [each.shape for each in case.theirs]
    for found, wanted in zip(mine, case.theirs, strict=True):
        if approximation == "exact":
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
        else:
            assert 0 < np.sqrt(np.square(found - wanted).mean()) < 0.1 * np.abs(wanted).max()


def test_layers_compute_what_onnx_runtime_answers(case: Case):
    _agree(answers(case.network, activations(case.network, case.samples)), case, "exact")


@pytest.mark.parametrize("approximation", ["exact", "int8"])
def test_compiled_answers_are_onnx_runtime_s(case: Case, approximation: str, tmp_path: Path):
    """By the executor and by a bundle, element for element in ONNX's order."""
    choices = _choices(case, approximation)
    if approximation == "int8":
        assert any(each.fitted.variant.approximation == "int8" for each in choices.values())
    executed = Executor(TARGET).run(case.network, choices, *case.samples.inputs)
    _agree(executed, case, approximation)
    session = _session(case, choices, tmp_path)
    found = session.run(*case.samples.inputs)
    names = [each.name for each in case.network.outputs]
    assert isinstance(found, dict) == (len(names) > 1)
    given = tuple(found[name] for name in names) if isinstance(found, dict) else (found,)
    for one, other in zip(given, executed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_inputs_are_told_apart_by_name(tmp_path: Path):
    case = _case(GRAPHS["two images, one of which is read late"].write(tmp_path / "net.onnx"))
    session = _session(case, _choices(case, "exact"), tmp_path)
    one, two = case.samples.inputs
    assert list(case.network.input_shapes) == ["one", "two_image_0"]
    by_name = session.run({"two_image_0": two, "one": one})
    np.testing.assert_array_equal(by_name, session.run(one, two))
    assert not np.allclose(by_name, session.run(two, one))
    stored = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert stored["input_shape"] == {"one": [1, 3, 6, 5], "two_image_0": [1, 3, 6, 5]}
    assert stored["output_shape"] == [1, 5]
    for wrong, words in (
        ((one,), "1 arrays given"),
        ((one, two[:2]), "as many of each"),
        (({"one": one, "two": two},), "one, two given; give one, two_image_0"),
        ((one, two, one), "3 arrays given; give one, two_image_0"),
        ((one, two[:, :2]), "two_image_0 has shape"),
    ):
        with pytest.raises(SampleError, match=words):
            session.run(*wrong)


def test_answers_wait_until_the_end(tmp_path: Path):
    network = load(GRAPHS["features beside logits"].write(tmp_path / "net.onnx"))
    names = [each.name for each in network.layers]
    held = {name: [names[index] for index in ahead] for name, ahead in zip(names, network.held, strict=True)}
    assert [each.layer for each in network.outputs] == ["dense1", "output_features", "output_flat"]
    assert held["output_flat"] == ["dense1", "output_features"]


@pytest.mark.parametrize("name", ["features beside logits", "two images, one of which is read late"])
def test_an_approximated_layer_is_seen_in_every_output_behind_it(name: str, tmp_path: Path):
    case = _case(GRAPHS[name].write(tmp_path / "net.onnx"))
    bench = Bench(case.known, case.samples)
    exact = exact_answers(bench, case.samples.inputs, ())
    for layer in case.network.layers:
        found = evaluate_layer(bench, layer.name, ["int8"], ()) if _has_int8(case, layer.name) else None
        assert found is None or 0 <= found.effects["int8"].divergence < 0.1
    variants = {layer: each.fitted.variant for layer, each in _choices(case, "int8").items()}
    fitted = refit(case.known, variants, Executor(TARGET))
    assert 0 < evaluate_configuration(bench, fitted, exact, ()).divergence < 0.3


def _has_int8(case: Case, layer: str) -> bool:
    return any(each.approximation == "int8" for each in case.known.variants[layer])


def test_classes_are_channels_at_every_position():
    answer = np.zeros((2, 3, 2, 2), np.float32)
    answer[0, 2], answer[1, 1], answer[1, :, 1, 1] = 1, 1, (9, 0, 0)
    positions = np.array([[[2, 2], [2, 0]], [[1, 1], [1, 0]]])
    assert count_right((answer,), {0: positions}) == (7, 8)
    assert count_right((answer,), {0: np.array([2, 1])}) == (7, 8)
    heat = np.zeros((1, 1, 2, 3), np.float32)
    heat[0, 0, 1, 1] = 1
    assert count_right((answer, heat), {1: np.array([4])}) == (1, 1)


def test_samples_have_an_array_an_input_and_labels_an_output(tmp_path: Path):
    onnx.save(NETWORKS["stereo"].model(), tmp_path / "stereo.onnx")
    network = load(tmp_path / "stereo.onnx")
    views = {name: normal(COUNT, *shape) for name, shape in network.input_shapes.items()}
    path, y = tmp_path / "samples.npz", np.arange(COUNT)
    np.savez(path, **views, y=y)
    plain = load_samples(path, network)
    np.testing.assert_array_equal(plain.inputs, list(views.values()))
    assert list(plain.right) == [0]
    logits, heat = (each.name for each in network.outputs)
    np.savez(path, **views, **{f"y_{logits}": y, f"y_{heat}": y * 40})
    both = load_samples(path, network).take(3)
    assert {index: each.tolist() for index, each in both.right.items()} == {0: [0, 2, 4], 1: [0, 80, 160]}
    assert len({plain.sha256, both.sha256, plain.take(3).sha256}) == 3
    np.savez(path, left=views["left"], right=views["right"][1:], y=y)
    with pytest.raises(NetworkError, match="right holds 5 samples"):
        load_samples(path, network)


@pytest.mark.parametrize("opset", [11, 15, 22])
def test_an_open_batch_is_one_sample_and_says_so(
    opset: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = GRAPHS["features beside logits"].write(tmp_path / "net.onnx", opset=opset, batch="n")
    network = load(path)
    assert network.input_shapes == {"input": (3, 6, 5)}
    assert "the batch of input in is open; it is taken to be 1" in caplog.text
