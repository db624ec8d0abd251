"""Operators that have no kernel of ours, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from cluster.planning import plan_class
from network.approximations import catalogue
from network.errors import NetworkError
from network.execute import Executor, first_tiles
from network.forward import activations, answers
from network.layers import Network
from network.onnx_import import load
from network.samples import Samples
from network.sensitivity import sensitivities
from network.target import Target
from tests.network.onnx_files import normal, save

COUNT = 3
SHAPE = (1, 4, 6, 5)
TARGET = Target.host()


def node(kind: str, inputs: str, outputs: str = "out", **attributes: object):
    names = [name if name != "_" else "" for name in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), **attributes)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


W = {"w": normal(4, 4, 3, 3), "m": normal(5, 7), "v": normal(5), "d": normal(3, 4)}
CONV = node("Conv", "in w", "a", pads=[1, 1, 1, 1])
CASES = {
    "Einsum": ((node("Einsum", "a a", equation="nchw,nchv->ncwv"),), {}, 17),
    "LayerNormalization": ((node("LayerNormalization", "a v v", axis=-1),), {}, 17),
    "Gelu": ((node("Gelu", "a"),), {}, 20),
    "Erf": ((node("Erf", "a"),), {}, 13),
    "Transpose": ((node("Transpose", "a", perm=[0, 2, 3, 1]),), {}, 11),
    "Slice": ((node("Slice", "a s e x t"),), {"s": ints(1), "e": ints(6), "x": ints(2), "t": ints(2)}, 13),
    "Pad": ((node("Pad", "a p", mode="reflect"),), {"p": ints(0, 0, 1, 2, 0, 0, 0, 1)}, 13),
    "MatMul": ((node("MatMul", "a m"),), {}, 13),
    "Reshape": ((node("Reshape", "a s"),), {"s": ints(1, 12, 10)}, 13),
    "Softmax": ((node("Softmax", "a", axis=3),), {}, 13),
    "Softmax of all": ((node("Softmax", "a", axis=1),), {}, 11),
    "Clip": ((node("Clip", "a l h"),), {"l": np.float32(-1), "h": np.float32(0.5)}, 13),
    "Gather": ((node("Gather", "a i", axis=2),), {"i": ints(3, 0, -1)}, 13),
    "InstanceNormalization": ((node("InstanceNormalization", "a g g"),), {"g": normal(4)}, 13),
    "DepthToSpace": ((node("DepthToSpace", "a", blocksize=2),), {}, 13),
    "Concat": ((node("Concat", "a in", axis=2),), {}, 13),
    "Add": ((node("ReduceMean", "a", "r", axes=[3]), node("Add", "a r")), {}, 13),
    "Split": (
        (node("Split", "a", "one two", axis=1), node("Mul", "two two", "b"), node("Add", "one b")),
        {},
        13,
    ),
    "MaxPool": ((node("MaxPool", "a", kernel_shape=[2, 2], dilations=[2, 1]),), {}, 13),
    "Where": (
        (
            node("Greater", "a in", "g"),
            node("Not", "g", "n"),
            node("Where", "n a in", "b"),
            node("Mul", "b a"),
        ),
        {},
        13,
    ),
    "Cast": ((node("Cast", "a", "i", to=7), node("Cast", "i", to=1)), {}, 13),
    "QuantizeLinear": (
        (node("QuantizeLinear", "a q", "i"), node("DequantizeLinear", "i q", "b"), node("Relu", "b")),
        {"q": np.float32(0.1)},
        13,
    ),
    "GroupNormalization": ((node("GroupNormalization", "a g g", num_groups=2),), {"g": normal(4)}, 21),
    "ConvTranspose": ((node("ConvTranspose", "a t", group=2),), {"t": normal(4, 3, 2, 2)}, 13),
    "Resize": ((node("Resize", "a _ _ s", mode="cubic"),), {"s": ints(1, 4, 12, 10)}, 13),
    "Sub": ((node("Sub", "a in"),), {}, 13),
    "ReduceMean": ((node("ReduceMean", "a", axes=[1]),), {}, 13),
    "PRelu": ((node("PRelu", "a p"),), {"p": normal(4, 1, 1)}, 13),
    "Expand": ((node("ReduceMean", "a", "r", axes=[3]), node("Expand", "r e")), {"e": ints(1, 4, 6, 3)}, 13),
    "Unsqueeze": (
        (node("ReduceMax", "a", "r", axes=[3], keepdims=0), node("Unsqueeze", "r x")),
        {"x": ints(2)},
        13,
    ),
    "ReduceMax": (
        (node("ReduceMax", "a", "r", axes=[2, 3], keepdims=0), node("Gemm", "r d", transB=1)),
        {},
        13,
    ),
}
ATTENTION = (
    CONV,
    node("Relu", "a", "b"),
    node("Reshape", "b s", "tokens"),
    node("Transpose", "tokens", "rows", perm=[0, 2, 1]),
    node("MatMul", "rows q", "query"),
    node("MatMul", "rows k", "key"),
    node("Transpose", "key", "turned", perm=[0, 2, 1]),
    node("MatMul", "query turned", "scores"),
    node("Softmax", "scores", "shares", axis=-1),
    node("MatMul", "shares rows", "seen"),
    node("Add", "seen rows", "sum"),
    node("LayerNormalization", "sum g g", "normal", axis=-1),
    node("ReduceMean", "normal", "mean", axes=[1], keepdims=0),
    node("Gemm", "mean d", "out", transB=1),
)


def write(path: Path, nodes, weights, opset: int, rank: int = 4) -> Path:
    return save(path, nodes, {**W, **weights}, shape=SHAPE, opset=opset, rank=rank)


def attention(folder: Path) -> Path:
    weights = {"s": ints(1, 4, 30), "q": normal(4, 4), "k": normal(4, 4), "g": normal(4)}
    return write(folder / "net.onnx", ATTENTION, weights, 17, rank=2)


def theirs(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path)
    return np.concatenate([session.run(None, {"in": each[np.newaxis]})[0] for each in x])


def samples() -> Samples:
    return Samples(normal(COUNT, *SHAPE[1:]), np.zeros(COUNT, np.int64))


def uniform(network: Network, given: Samples, approximation: str) -> np.ndarray:
    known = catalogue(network, given, ["int8"])
    chosen = plan_class("host", TARGET, known).table.uniform(approximation)
    fitted = {each.layer: known.fitted(known.variant(each.layer, each.key)) for each in chosen}
    choices = {name: first_tiles(each, TARGET.isa) for name, each in fitted.items()}
    (found,) = Executor(TARGET).run(network, choices, given.x)
    return found


@pytest.mark.parametrize("case", CASES)
def test_they_compute_what_onnx_runtime_computes(tmp_path: Path, case: str):
    nodes, weights, opset = CASES[case]
    rank = {"Reshape": 3, "ReduceMax": 2}.get(case, 4)
    path = write(tmp_path / "net.onnx", [CONV, *nodes], weights, opset, rank)
    network, given = load(path), samples()
    assert "opaque" in [layer.op for layer in network.layers]
    (found,) = answers(network, activations(network, given))
    np.testing.assert_allclose(found, theirs(path, given.x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("approximation", ["exact", "int8"])
def test_an_attention_runs_among_other_layers(tmp_path: Path, approximation: str):
    path = attention(tmp_path)
    network, given = load(path), samples()
    found, wanted = uniform(network, given, approximation), theirs(path, given.x)
    if approximation == "exact":
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    else:
        assert 0 < np.sqrt(np.square(found - wanted).mean()) < 0.2 * np.abs(wanted).max()


def test_what_is_ahead_of_an_opaque_layer_has_no_sensitivity(tmp_path: Path):
    network = load(attention(tmp_path))
    known = sensitivities(network, activations(network, samples()))
    assert [name for name in known if network[name].has_weights] == [network.layers[-1].name]
    catalogue(network, samples())


def test_equal_nodes_share_a_kernel(tmp_path: Path):
    nodes = [CONV, node("Erf", "a", "b"), node("Erf", "b", "c"), node("Cos", "c")]
    network = load(write(tmp_path / "net.onnx", nodes, {}, 13))
    keys = [layer.settings["kernel"].key for layer in network.layers if layer.op == "opaque"]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ((node("Det", "a"),), ["Det", "opset 13", "is not supported", "Conv, ConvTranspose"]),
        ((node("Unsqueeze", "a x"),), ["Unsqueeze", "is not supported"]),
        ((node("ArgMax", "a", axis=1),), ["ArgMax", "is not supported"]),
    ],
)
def test_what_cannot_be_compiled_is_refused(tmp_path: Path, nodes, words):
    with pytest.raises(NetworkError) as error:
        load(write(tmp_path / "net.onnx", [CONV, *nodes], {"x": ints(0, 2)}, 13))
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)
