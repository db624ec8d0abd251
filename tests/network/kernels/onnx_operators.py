"""Single ONNX operators on samples (height, width, channels), computed by ONNX Runtime."""

import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def run(operator, x, constants=(), **attributes):
    """The operator's first output of ``x`` and constant inputs; an empty constant is left out."""
    names = [f"c{index}" if constant is not None else "" for index, constant in enumerate(constants)]
    given = [(name, each) for name, each in zip(names, constants, strict=True) if name]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *names], ["y"], **attributes)],
        operator,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, x.shape[2], *x.shape[:2]))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (None,) * 4)],
        [numpy_helper.from_array(each, name) for name, each in given],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x.transpose(2, 0, 1)[None]})
    return y[0].transpose(1, 2, 0)
