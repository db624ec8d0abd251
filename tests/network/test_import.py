"""Networks of every supported operator against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from network.forward import activations, answers
from network.onnx_import import load
from network.samples import Samples
from tests.network.onnx_files import CONV, FLAT, HEAD, chain, normal, save


def norm(channels):
    positive = np.abs(normal(channels)) + 0.5
    return {"g": normal(channels), "b": normal(channels), "m": normal(channels), "v": positive}


SUPPORTED = {
    "conv, norm, relu": (
        (CONV, ("BatchNormalization", [*"gbmv"], {}), ("Relu", [], {}), *HEAD),
        {"w": normal(5, 3, 3, 3), **norm(5)},
        ["input", "conv2d", "avg_pool"],
    ),
    "norm behind relu": (
        (CONV, ("Relu", [], {}), ("BatchNormalization", [*"gbmv"], {}), *HEAD),
        {"w": normal(5, 3, 3, 3), **norm(5)},
        ["input", "conv2d", "conv2d", "avg_pool"],
    ),
    "relu behind max pool": (
        (CONV, ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2]}), ("Relu", [], {}), *FLAT),
        {"w": normal(4, 3, 3, 3), "d": normal(6, 48)},
        ["input", "conv2d", "max_pool", "dense"],
    ),
    "relu behind average pool": (
        (
            CONV,
            ("AveragePool", [], {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1}),
            ("Relu", [], {}),
            *FLAT,
        ),
        {"w": normal(4, 3, 3, 3), "d": normal(6, 4 * 8 * 8)},
        ["input", "conv2d", "avg_pool", "relu", "dense"],
    ),
    "average without padding, uneven": (
        (
            (
                "AveragePool",
                [],
                {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 0},
            ),
            *FLAT,
        ),
        {"d": normal(6, 3 * 4 * 4)},
        ["input", "avg_pool", "dense"],
    ),
    "auto_pad": (
        (
            ("Conv", ["w", "c"], {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
            ("MaxPool", [], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}),
            ("Dropout", [], {}),
            ("Identity", [], {}),
            ("Reshape", ["s"], {}),
            ("MatMul", ["d"], {}),
            ("Add", ["a"], {}),
            ("Relu", [], {}),
            ("Gemm", ["e", "f"], {}),
            ("Softmax", [], {}),
        ),
        {
            "w": normal(4, 3, 4, 4),
            "c": normal(4),
            "s": np.array([0, -1]),
            "d": 0.1 * normal(60, 7),
            "a": normal(7),
            "e": 0.1 * normal(7, 5),
            "f": normal(5),
        },
        ["input", "conv2d", "max_pool", "dense", "dense"],
    ),
}


@pytest.mark.parametrize("case", SUPPORTED)
@pytest.mark.parametrize("opset", [11, 13, 22])
def test_layers_compute_what_onnx_runtime_computes(tmp_path, case, opset):
    steps, weights, operators = SUPPORTED[case]
    path = save(tmp_path / "net.onnx", chain(*steps), weights, shape=("batch", 3, 9, 8), opset=opset)
    network = load(path)
    x = normal(4, 3, 9, 8)
    mine = activations(network, Samples(x, np.zeros(4, np.int64)))[network.layers[-1].name]
    session = onnxruntime.InferenceSession(path)
    theirs = np.concatenate([session.run(None, {"in": x[i : i + 1]})[0].reshape(1, -1) for i in range(4)])
    mine = mine.reshape(4, -1)
    if steps[-1][0] == "Softmax":
        mine = np.exp(mine - mine.max(axis=1, keepdims=True))
        mine /= mine.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    assert [layer.op for layer in network.layers] == operators
    assert len({layer.name for layer in network.layers}) == len(network.layers)
    assert network.edges == tuple(
        (a.name, b.name) for a, b in zip(network.layers, network.layers[1:], strict=False)
    )


def test_a_flatten_written_as_shape_arithmetic_is_a_flatten(tmp_path):
    nodes = [
        helper.make_node("Shape", ["in"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["rows"]),
        helper.make_node("Concat", ["rows", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["in", "target"], ["flat"]),
        helper.make_node("Gemm", ["flat", "d"], ["out"], transB=1),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1]), "d": normal(4, 216)}
    network = load(save(tmp_path / "net.onnx", nodes, constants, shape=("batch", 3, 9, 8)))
    assert network.layers[-1].weight.shape == (4, 9, 8, 3)


@pytest.mark.parametrize("opset", [11, 15, 22])
def test_weights_and_sizes_that_are_computed_of_constants_are_constants(tmp_path, opset):
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[3, 0, 1, 2]),
        helper.make_node("Mul", ["turned", "two"], ["twice"]),
        helper.make_node("Conv", ["in", "twice"], ["small"], strides=[3, 2]),
        helper.make_node("Shape", ["in"], ["sizes"]),
        helper.make_node("Slice", ["sizes", "from", "to"], ["size"]),
        helper.make_node("Concat", ["ends", "size"], ["whole"], axis=0),
        helper.make_node("Resize", ["small", *regions(opset), "whole"], ["big"], mode="nearest"),
        helper.make_node("GlobalAveragePool", ["big"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["out"]),
    ]
    values = {"w": normal(3, 3, 3, 4), "two": np.float32(2), "ends": np.array([1, 4])}
    values |= {"from": np.array([2]), "to": np.array([4]), "none": np.empty(0, np.float32)}
    path = save(tmp_path / "net.onnx", nodes, values, shape=("batch", 3, 9, 8), opset=opset)
    network = load(path)
    assert [each.op for each in network.layers] == ["input", "conv2d", "resize", "avg_pool"]
    x = normal(2, 3, 9, 8)
    (mine,) = answers(network, activations(network, Samples(x, np.zeros(2, np.int64))))
    session = onnxruntime.InferenceSession(path)
    theirs = [session.run(None, {"in": each[np.newaxis]})[0][0] for each in x]
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def regions(opset):
    """The inputs of a resize that are of no use here, and that opsets before 13 want nevertheless."""
    return ["none", "none"] if opset < 13 else ["", ""]


def test_names_are_the_exporters_in_short(tmp_path):
    names = ("/features/features.0/Conv", "/features/features.0/Conv_1", "", "/head/Gemm")
    steps = (CONV, ("Conv", ["w"], {}), ("MaxPool", [], {"kernel_shape": [2, 2]}), ("Flatten", [], {}))
    nodes = chain(*steps, ("Gemm", ["d"], {"transB": 1}))
    for node, name in zip((*nodes[:3], nodes[4]), names, strict=True):
        node.name = name
    network = load(save(tmp_path / "net.onnx", nodes, {"w": normal(3, 3, 3, 3), "d": normal(2, 90)}))
    expected = ["input", "features.0", "features.0_1", "pool1", "head"]
    assert [layer.name for layer in network.layers] == expected
