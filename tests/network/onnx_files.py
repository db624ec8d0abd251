"""Small ONNX files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CONV = ("Conv", ["w"], {"pads": [1, 1, 1, 1]})
HEAD = (("GlobalAveragePool", [], {}), ("Flatten", [], {}))
FLAT = (("Flatten", [], {}), ("Gemm", ["d"], {"transB": 1}))
RNG = np.random.default_rng(7)


def save(path: Path, nodes, weights=None, *, shape=(1, 3, 9, 8), opset=17, outputs=("out",), rank=2) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}{axis}" for axis in range(rank)])
            for name in outputs
        ],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def chain(*steps):
    """Nodes in a row; each step is (operator, further inputs, attributes)."""
    nodes, source = [], "in"
    for position, (kind, inputs, attributes) in enumerate(steps):
        target = "out" if position == len(steps) - 1 else f"t{position}"
        nodes.append(helper.make_node(kind, [source, *inputs], [target], **attributes))
        source = target
    return nodes


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)
