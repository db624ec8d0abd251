"""A trained torch Sequential to ONNX, node by node: exact, readable names, nothing folded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import nn

OPSET = 17
IR_VERSION = 8
"""The IR that came with opset 17: older runtimes refuse a newer one."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An ONNX operator with its attributes and its parameters in the order of ONNX's inputs."""

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


def to_onnx(model: nn.Sequential, name: str, input_shape: tuple[int, ...]) -> onnx.ModelProto:
    """A checked ONNX model with a static input `image` and the output `scores` of shape (1, classes)."""
    operators = {child: EXPORTERS[type(layer)](layer) for child, layer in model.named_children()}
    classes = list(model.children())[-1].out_features
    graph = helper.make_graph(
        nodes=list(_nodes(operators)),
        name=name,
        inputs=[helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, input_shape)],
        outputs=[helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, (input_shape[0], classes))],
        initializer=list(_initializers(operators)),
    )
    exported = helper.make_model(
        graph,
        producer_name="blinknet examples.train",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(exported, full_check=True)
    return exported


def _nodes(operators: dict[str, Operator]) -> Iterator[onnx.NodeProto]:
    previous, last = "image", list(operators)[-1]
    for name, operator in operators.items():
        inputs = [previous, *(f"{name}.{parameter}" for parameter in operator.parameters)]
        previous = "scores" if name == last else name
        yield helper.make_node(operator.kind, inputs, [previous], name=name, **operator.attributes)


def _initializers(operators: dict[str, Operator]) -> Iterator[onnx.TensorProto]:
    for name, operator in operators.items():
        for parameter, values in operator.parameters.items():
            contiguous = np.ascontiguousarray(values.detach().numpy())
            yield numpy_helper.from_array(contiguous, f"{name}.{parameter}")


def _convolution(layer: nn.Conv2d) -> Operator:
    parameters = {"weight": layer.weight} | ({} if layer.bias is None else {"bias": layer.bias})
    window = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "pads": layer.padding * 2}
    return Operator("Conv", window, parameters)


def _normalization(layer: nn.BatchNorm2d) -> Operator:
    statistics = {"mean": layer.running_mean, "variance": layer.running_var}
    parameters = {"scale": layer.weight, "bias": layer.bias, **statistics}
    return Operator("BatchNormalization", {"epsilon": layer.eps}, parameters)


def _max_pool(layer: nn.MaxPool2d) -> Operator:
    return Operator("MaxPool", _pool_window(layer))


def _average_pool(layer: nn.AvgPool2d) -> Operator:
    return Operator("AveragePool", _pool_window(layer) | {"count_include_pad": 0})


def _pool_window(layer: Any) -> dict[str, list[int]]:
    """The window of a pool; rounding sizes up is written as padding at the end.

    On the even sizes of the examples the last window sticks out by its size less its stride.
    """
    overhang = layer.kernel_size - layer.stride if layer.ceil_mode else 0
    return {
        "kernel_shape": [layer.kernel_size] * 2,
        "strides": [layer.stride] * 2,
        "pads": [0, 0, overhang, overhang],
    }


def _dense(layer: nn.Linear) -> Operator:
    return Operator("Gemm", {"transB": 1}, {"weight": layer.weight, "bias": layer.bias})


EXPORTERS: dict[type, Callable[[Any], Operator]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _normalization,
    nn.ReLU: lambda _: Operator("Relu"),
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    nn.Flatten: lambda _: Operator("Flatten", {"axis": 1}),
    nn.Linear: _dense,
}
