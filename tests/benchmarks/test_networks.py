from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks.networks import NETWORKS, SHIPPED, RandomNetwork, model_path
from network.onnx_import import load

ort = pytest.importorskip("onnxruntime", reason="it runs what is written: pip install onnxruntime")

MACS = {
    "caffenet": 0.72e9,
    "resnet18": 1.82e9,
    "resnet50": 4.1e9,
    "mobilenet_v2": 0.3e9,
    "squeezenet": 0.35e9,
    # Table 1 of the paper, but for its 34M of the first convolution, which are 7 * 7 * 3 * 64 * 112 * 112.
    "inception": (118 + 360 + 128 + 304) * 1e6,
}
"""From the papers."""
PARAMETERS = {
    "caffenet": 60_965_224,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "squeezenet": 1_235_496,
    "densenet": 176_122,
}
"""Of Caffe's reference model, torchvision's models, and pytorchcv's densenet40_k12_bc_cifar10."""


@dataclass(frozen=True, eq=False)
class Known:
    """A network at opset 17, a session that gives every tensor, and those for ``inputs``."""

    network: RandomNetwork
    graph: onnx.GraphProto
    session: ort.InferenceSession
    inputs: dict[str, np.ndarray]
    tensors: dict[str, np.ndarray]
    outputs: list[str]

    @property
    def answers(self) -> list[np.ndarray]:
        return [self.tensors[name] for name in self.outputs]


def images(network: RandomNetwork, seed: int) -> dict[str, np.ndarray]:
    """Patches of even colour, and noise: an average over noise alone says nothing."""
    random = np.random.default_rng(seed)
    inputs = {}
    for name, shape in network.inputs.items():
        patches = random.normal(size=(shape[0], *(5 for _ in shape[1:])))
        for axis, size in enumerate(shape[1:], start=1):
            patches = np.repeat(patches, -(-size // 5), axis).take(range(size), axis)
        inputs[name] = (patches + 0.1 * random.normal(size=shape))[np.newaxis].astype(np.float32)
    return inputs


def session(content: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(content, options)


@pytest.fixture(scope="module", params=NETWORKS)
def known(request: pytest.FixtureRequest) -> Known:
    network = NETWORKS[request.param]
    model, inputs = network.model(), images(network, 1)
    outputs = [each.name for each in model.graph.output]
    names = [node.output[0] for node in model.graph.node]
    model.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in outputs
    )
    running = session(model.SerializeToString())
    tensors = dict(zip(names, running.run(names, inputs), strict=True))
    return Known(network, model.graph, running, inputs, tensors, outputs)


@pytest.mark.parametrize("opset", [11, 13, 17, 22])
def test_it_is_valid_and_computes_the_same_in_every_opset(known, opset):
    model = known.network.model(opset)
    assert [each.version for each in model.opset_import] == [opset]
    content = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    for found, expected in zip(session(content).run(None, known.inputs), known.answers, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * abs(expected).max())


def test_values_stay_in_range_through_depth(known):
    for name, tensor in known.tensors.items():
        assert np.isfinite(tensor).all(), name
        assert 0.01 < np.sqrt(np.mean(np.square(tensor))) < 10, name


def test_answers_differ_between_classes_and_between_images(known):
    other = known.session.run(known.outputs, images(known.network, 2))
    for found, second in zip(known.answers, other, strict=True):
        assert found.std() > 0.1 * abs(found).max() / np.sqrt(found.size)
        assert np.abs(found - second).mean() > 0.03 * found.std()


def test_it_costs_what_is_known_of_it(known):
    weights = {each.name: numpy_helper.to_array(each) for each in known.graph.initializer}
    name = known.network.name
    if name in MACS:
        assert macs(known, weights) == pytest.approx(MACS[name], rel=0.03)
    if name in PARAMETERS:
        assert learned(known.graph, weights) == PARAMETERS[name]
    assert macs(known, weights) > 1e5


def macs(known: Known, weights: dict[str, np.ndarray]) -> int:
    total = 0
    for node in known.graph.node:
        if node.op_type in {"Conv", "Gemm"}:
            total += known.tensors[node.output[0]].size * prod(weights[node.input[1]].shape[1:])
        elif node.op_type == "ConvTranspose":
            total += known.tensors[node.input[0]].size * prod(weights[node.input[1]].shape[1:])
    return total


def learned(graph: onnx.GraphProto, weights: dict[str, np.ndarray]) -> int:
    """Without the statistics of batch norms."""
    read = [
        node.input[1:3]
        for node in graph.node
        if node.op_type in {"Conv", "ConvTranspose", "Gemm", "BatchNormalization"}
    ]
    return sum(weights[name].size for names in read for name in names)


@pytest.mark.parametrize("name", ["activity", "densenet", "stereo", "unet_bilinear"])
def test_an_open_batch_takes_any_number_of_samples(name):
    network = NETWORKS[name]
    content = network.model(batch="N").SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    samples = [images(network, seed) for seed in range(3)]
    together = {key: np.concatenate([each[key] for each in samples]) for key in network.inputs}
    alone = session(network.model().SerializeToString())
    one_by_one = [alone.run(None, each) for each in samples]
    for found, *rows in zip(session(content).run(None, together), *one_by_one, strict=True):
        np.testing.assert_allclose(found, np.concatenate(rows), rtol=1e-3, atol=1e-4)


def test_the_same_seed_writes_the_same_network():
    network = NETWORKS["activity"]
    assert network.model().SerializeToString() == network.model().SerializeToString()
    assert network.model() != network.model(seed=1)
    with pytest.raises(ValueError, match="activity cannot be written for opset 10; use 11-22"):
        network.model(opset=10)


def test_networks_are_found_by_name(tmp_path):
    for name in SHIPPED:
        assert load(model_path(name, tmp_path)).name == name
    written = model_path("activity", tmp_path)
    assert onnx.load(written) == NETWORKS["activity"].model()
    with pytest.raises(KeyError):
        model_path("lenet", tmp_path)
