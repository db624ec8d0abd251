"""What cannot be imported ends in one message that says what, where and what next."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from network.errors import NetworkError
from network.onnx_import import load
from tests.network.onnx_files import CONV, FLAT, HEAD, chain, normal, save

W = {"w": normal(4, 3, 3, 3), "d": normal(2, 9)}
BROKEN = {
    "operator": ((CONV, ("Det", [], {}), *HEAD), {}, ["Det", "opset 17", "Conv", "Relu"]),
    "group": ((("Conv", ["w"], {"group": 3}), *HEAD), {}, ["9 channels", "has 3"]),
    "alpha": ((("Flatten", [], {}), ("Gemm", ["d"], {"alpha": 2.0})), {}, ["alpha = 2.0"]),
    "flatten axis": ((("Flatten", [], {"axis": 2}),), {}, ["axis = 2"]),
    "weight size": ((("Flatten", [], {}), ("Gemm", ["d"], {"transB": 1})), {}, ["216"]),
    "channels": ((("Conv", ["w"], {}), *HEAD), {"w": normal(4, 5, 3, 3)}, ["5 channels", "has 3"]),
    "window": ((("MaxPool", [], {"kernel_shape": [20, 2]}), *FLAT), {}, ["larger", "9x8"]),
    "image behind flatten": ((("Flatten", [], {}), ("Conv", ["w"], {})), {}, ["rank 2"]),
    "reshape": ((("Reshape", ["s"], {}),), {"s": np.array([3, 72])}, ["reshapes to", "216"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_unsupported_networks_name_the_node_and_the_remedy(tmp_path, case):
    steps, weights, words = BROKEN[case]
    path = save(tmp_path / "net.onnx", chain(*steps), {**W, **weights})
    with pytest.raises(NetworkError) as error:
        load(path)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shape", "word"),
    [((1, 216), "2 dimensions"), ((1, 3, "h", 8), "not known"), ((8, 3, 9, 8), "batch 8")],
)
def test_input_shapes_that_are_no_single_image(tmp_path, shape, word):
    with pytest.raises(NetworkError, match=word):
        load(save(tmp_path / "net.onnx", chain(CONV, *HEAD), W, shape=shape))


def test_opsets_outside_of_what_is_known(tmp_path):
    with pytest.raises(NetworkError, match=r"opset 9.*11 to 22"):
        load(save(tmp_path / "net.onnx", chain(CONV, *HEAD), W, opset=9))


def test_weights_that_nobody_knows(tmp_path):
    nodes = [
        helper.make_node("RandomNormalLike", ["w"], ["v"]),
        helper.make_node("Conv", ["in", "v"], ["out"]),
    ]
    with pytest.raises(NetworkError, match="reads only constants; export again"):
        load(save(tmp_path / "net.onnx", nodes, W))


def test_tensors_that_do_not_fit_each_other(tmp_path):
    nodes = [
        helper.make_node("Conv", ["in", "w"], ["a"]),
        helper.make_node("Add", ["a", "in"], ["out"], name="join"),
    ]
    with pytest.raises(NetworkError, match=r"join.*\(7, 6, 4\), \(9, 8, 3\)"):
        load(save(tmp_path / "net.onnx", nodes, W))


def test_files_that_are_missing_or_broken(tmp_path):
    with pytest.raises(NetworkError, match="no network at"):
        load(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    for content in (b"", b"not an ONNX file"):
        broken.write_bytes(content)
        with pytest.raises(NetworkError, match="not a valid ONNX file"):
            load(broken)
