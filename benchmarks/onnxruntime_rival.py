"""ONNX Runtime as its documentation recommends it: I/O binding, static quantization by its own tools.

https://onnxruntime.ai/docs/performance/tune-performance/iobinding.html and
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html: pre-processing, uint8
activations, int8 weights with a scale a channel, min-max calibration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rival:
    """A model with inputs and outputs bound to tensors of its own."""

    def __init__(self, model: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._binding = self._session.io_binding()
        self._inputs, self._outputs = (
            {
                each.name: onnxruntime.OrtValue.ortvalue_from_shape_and_type(each.shape, np.float32)
                for each in several
            }
            for several in (self._session.get_inputs(), self._session.get_outputs())
        )
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def load(self, inputs: Sequence[NDArray[np.float32]]) -> None:
        """Copy a sample of every input into its tensor."""
        for value, sample in zip(self._inputs.values(), inputs, strict=True):
            value.update_inplace(sample.reshape(value.shape()))

    def run(self) -> None:
        """From the bound inputs to the bound outputs: nothing is copied."""
        self._session.run_with_iobinding(self._binding)

    def outputs(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Each output ``(n, classes, ...)`` of samples ``(n, channels, ...)`` of each input."""
        answers = [self._answers([each[index] for each in inputs]) for index in range(len(inputs[0]))]
        return [np.concatenate(several) for several in zip(*answers, strict=True)]

    def _answers(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        self.load(inputs)
        self.run()
        return [np.array(each.numpy()) for each in self._outputs.values()]


def classes(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.int64]:
    """The largest of the classes ``(n, classes, ...)`` of each output, at every position, in a row."""
    return np.concatenate([each.argmax(axis=1).reshape(-1) for each in outputs]).astype(np.int64)


def quantized(model: Path, inputs: Sequence[NDArray[np.float32]], folder: Path) -> dict[str, Path]:
    """The model in every form that ONNX Runtime's tools offer for a CPU, by name; written to ``folder``.

    One form leaves average pools in float32: on some processors that is faster.
    """
    import onnx

    prepared = _prepared(model, folder)
    graph = onnx.load(prepared).graph
    pools = [node.name for node in graph.node if node.op_type == "AveragePool"]
    forms: dict[str, tuple[str, list[str]]] = {"QDQ": ("QDQ", []), "QOperator": ("QOperator", [])}
    if pools:
        forms["QDQ, average pools in float32"] = ("QDQ", pools)
    written = {name: folder / f"{name}.onnx" for name in forms}
    for name, (style, excluded) in forms.items():
        _quantize(prepared, written[name], _Calibration(graph.input, inputs), style, excluded)
    return written


def _prepared(model: Path, folder: Path) -> Path:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = folder / "prepared.onnx"
    # Symbolic shape inference is for shapes that are not fixed, and asks for another library.
    quant_pre_process(str(model), str(path), skip_symbolic_shape=True)
    return path


def _quantize(model: Path, path: Path, reader: _Calibration, style: str, excluded: list[str]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    quantize_static(
        str(model),
        str(path),
        reader,
        quant_format=QuantFormat[style],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_exclude=excluded,
    )


class _Calibration:
    """ONNX Runtime's ``CalibrationDataReader``: one sample at a time, ``None`` at the end."""

    def __init__(self, sources: Sequence[Any], inputs: Sequence[NDArray[np.float32]]) -> None:
        shapes = {each.name: [size.dim_value for size in each.type.tensor_type.shape.dim] for each in sources}
        self._feeds: Iterator[dict[str, Any]] = (
            {name: each.reshape(shape) for (name, shape), each in zip(shapes.items(), sample, strict=True)}
            for sample in zip(*inputs, strict=True)
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next feed."""
        return next(self._feeds, None)
