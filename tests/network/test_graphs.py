"""Networks with branches and the operators around convolutions, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from cluster.planning import plan_class
from network.approximations import catalogue
from network.execute import Executor, first_tiles
from network.forward import activations, answers
from network.layers import Network
from network.onnx_import import load
from network.samples import Samples
from network.target import Target
from tests.network.onnx_files import normal, save

SAMPLES = 3
CONV = {"pads": [1, 1, 1, 1]}


def node(kind: str, inputs: str, output: str, **attributes: object):
    return helper.make_node(kind, inputs.split(), [output], **attributes)


HEAD = (
    node("GlobalAveragePool", "last", "pooled"),
    node("Flatten", "pooled", "flat"),
    node("Gemm", "flat d", "out", transB=1),
)
IMAGE = (1, 3, 10, 9)
W, V, D = normal(8, 3, 3, 3), normal(8, 8, 3, 3), normal(5, 8)

GRAPHS = {
    "residual, relu behind it": (
        (
            node("Conv", "in w", "a", **CONV),
            node("Relu", "a", "b"),
            node("Conv", "b v", "c", **CONV),
            node("Add", "c b", "sum"),
            node("Relu", "sum", "last"),
        ),
        {"w": W, "v": V, "d": D},
        ["input", "conv2d", "conv2d", "add", "avg_pool", "dense"],
    ),
    "a tensor read before and behind its relu": (
        (
            node("Conv", "in w", "a", **CONV),
            node("Relu", "a", "b"),
            node("Add", "a b", "last"),
        ),
        {"w": W, "d": D},
        ["input", "conv2d", "relu", "add", "avg_pool", "dense"],
    ),
    "norm behind a tensor that two read": (
        (
            node("Conv", "in w", "a", **CONV),
            node("BatchNormalization", "a g b m s", "n"),
            node("Relu", "n", "r"),
            node("Conv", "r v", "c", **CONV),
            node("Concat", "a c", "last", axis=1),
        ),
        {
            "w": W,
            "v": V,
            "g": normal(8),
            "b": normal(8),
            "m": normal(8),
            "s": np.abs(normal(8)) + 0.5,
            "d": normal(5, 16),
        },
        ["input", "conv2d", "conv2d", "conv2d", "concat", "avg_pool", "dense"],
    ),
    "depthwise with relu6": (
        (
            node("Conv", "in w", "a", **CONV),
            node("Clip", "a low high", "b"),
            node("Conv", "b v", "c", group=8, strides=[2, 2], **CONV),
            node("Clip", "c low high", "last"),
        ),
        {"w": W, "v": normal(8, 1, 3, 3), "low": np.float32(0), "high": np.float32(1.5), "d": D},
        ["input", "conv2d", "conv2d", "avg_pool", "dense"],
    ),
    "groups and dilation": (
        (
            node("Conv", "in w", "a", **CONV),
            node("Conv", "a v", "last", group=2, dilations=[2, 1], pads=[2, 1, 2, 1]),
        ),
        {"w": W, "v": normal(8, 4, 3, 3), "d": D},
        ["input", "conv2d", "conv2d", "avg_pool", "dense"],
    ),
    "local response, softmax ahead of the end": (
        (
            node("Conv", "in w", "a", **CONV),
            node("LRN", "a", "b", size=5, alpha=0.5, beta=0.75, bias=2.0),
            node("Softmax", "b", "last", axis=1),
        ),
        {"w": W, "d": D},
        ["input", "conv2d", "lrn", "softmax", "avg_pool", "dense"],
    ),
    "up and down": (
        (
            node("Conv", "in w", "a", **CONV),
            node("MaxPool", "a", "small", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
            node("ConvTranspose", "small t", "up", strides=[2, 2], pads=[0, 0, 0, 1]),
            node("Concat", "a up", "last", axis=1),
        ),
        {"w": W, "t": normal(8, 4, 2, 2), "d": normal(5, 12)},
        ["input", "conv2d", "max_pool", "conv_transpose", "concat", "avg_pool", "dense"],
    ),
    "squeeze and excitation": (
        (
            node("Conv", "in w", "a", **CONV),
            node("GlobalAveragePool", "a", "p"),
            node("Conv", "p e", "q"),
            node("Sigmoid", "q", "gate"),
            node("Mul", "a gate", "last"),
        ),
        {"w": W, "e": normal(8, 8, 1, 1), "d": D},
        ["input", "conv2d", "avg_pool", "conv2d", "unary", "mul", "avg_pool", "dense"],
    ),
}


def imported(tmp_path: Path, case: str, opset: int = 17) -> tuple[Network, Path]:
    nodes, weights, _ = GRAPHS[case]
    path = save(tmp_path / "net.onnx", [*nodes, *HEAD], weights, shape=IMAGE, opset=opset)
    return load(path), path


@pytest.mark.parametrize("case", GRAPHS)
def test_layers_compute_what_onnx_runtime_computes(tmp_path: Path, case: str):
    network, path = imported(tmp_path, case)
    assert [layer.op for layer in network.layers] == GRAPHS[case][2]
    x = normal(SAMPLES, *IMAGE[1:])
    values = activations(network, Samples(x, np.zeros(SAMPLES, np.int64)))
    session = onnxruntime.InferenceSession(path)
    theirs = [session.run(None, {"in": each[np.newaxis]})[0][0] for each in x]
    mine = values[network.layers[-1].name].reshape(SAMPLES, -1)
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
def test_resizing_is_onnx_runtime_s(tmp_path: Path, mode: str, coordinates: str):
    attributes = {"coordinate_transformation_mode": coordinates, "nearest_mode": "floor"}
    nodes = [
        helper.make_node("Resize", ["in", "", "", "sizes"], ["big"], mode=mode, **attributes),
        node("Flatten", "big", "out"),
    ]
    path = save(tmp_path / "net.onnx", nodes, {"sizes": np.array([1, 3, 15, 20])}, shape=IMAGE)
    network = load(path)
    x = normal(1, *IMAGE[1:])
    values = activations(network, Samples(x, np.zeros(1, np.int64)))[network.layers[-1].name]
    theirs = onnxruntime.InferenceSession(path).run(None, {"in": x})[0].reshape(1, 3, 15, 20)
    np.testing.assert_allclose(values.transpose(0, 3, 1, 2), theirs, rtol=1e-4, atol=1e-5)


def test_a_series_is_an_image_of_height_1(tmp_path: Path):
    nodes = [
        node("Conv", "in w", "a", pads=[1, 1], strides=[2]),
        node("Relu", "a", "b"),
        node("MaxPool", "b", "c", kernel_shape=[2], strides=[2]),
        node("ReduceMean", "c", "p", axes=[2], keepdims=0),
        node("Gemm", "p d", "out", transB=1),
    ]
    path = save(tmp_path / "net.onnx", nodes, {"w": normal(8, 3, 3), "d": D}, shape=(1, 3, 20))
    network = load(path)
    assert network.input_shapes == {"input": (3, 1, 20)}
    x = normal(1, 3, 20)
    values = activations(network, Samples(x[:, :, np.newaxis], np.zeros(1, np.int64)))
    theirs = onnxruntime.InferenceSession(path).run(None, {"in": x})[0]
    np.testing.assert_allclose(values[network.layers[-1].name].reshape(1, -1), theirs, rtol=1e-4, atol=1e-5)


def test_what_waits_beside_a_layer_is_known(tmp_path: Path):
    network, _ = imported(tmp_path, "residual, relu behind it")
    assert [each.name for each in network.readers(network.layers[1].name)] == [
        network.layers[2].name,
        network.layers[3].name,
    ]
    assert network.held == ((), (), (), (), (), ())
    network, _ = imported(tmp_path, "squeeze and excitation")
    assert network.held == ((), (), (), (1,), (1,), (), (), ())


@pytest.mark.parametrize("case", GRAPHS)
@pytest.mark.parametrize("approximation", ["exact", "int8"])
def test_uniform_configurations_answer_as_the_network_does(tmp_path: Path, case: str, approximation: str):
    """Every layer compiled, in the form that its neighbours read and write."""
    network, _ = imported(tmp_path, case)
    x = normal(40, *IMAGE[1:])
    samples = Samples(x, np.zeros(len(x), np.int64))
    known = catalogue(network, samples, ["int8"])
    target = Target.host()
    chosen = plan_class("host", target, known).table.uniform(approximation)
    fitted = {each.layer: known.fitted(known.variant(each.layer, each.key)) for each in chosen}
    choices = {name: first_tiles(each, target.isa) for name, each in fitted.items()}
    (mine,) = Executor(target).run(network, choices, x)
    (exact,) = answers(network, activations(network, samples))
    if approximation == "exact":
        np.testing.assert_allclose(mine, exact, rtol=1e-4, atol=1e-5)
    else:
        assert {each.approximation for each in chosen} - {"exact"} == {"int8"}
        assert np.sqrt(np.square(mine - exact).mean()) < 0.2 * exact.std()
