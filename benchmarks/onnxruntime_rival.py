"""ONNX Runtime as its documentation recommends it: I/O binding, static quantization by its own tools.

https://onnxruntime.ai/docs/performance/tune-performance/iobinding.html and
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html: pre-processing, uint8
activations, int8 weights with a scale a channel, min-max calibration.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rival:
    """A model with input and output bound to tensors of its own."""

    def __init__(self, model: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        source, result = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._x = onnxruntime.OrtValue.ortvalue_from_shape_and_type(source.shape, np.float32)
        self._y = onnxruntime.OrtValue.ortvalue_from_shape_and_type(result.shape, np.float32)
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(source.name, self._x)
        self._binding.bind_ortvalue_output(result.name, self._y)

    def load(self, sample: NDArray[np.float32]) -> None:
        """Copy a sample ``(channels, height, width)`` into the bound input."""
        self._x.update_inplace(sample.reshape(self._x.shape()))

    def run(self) -> None:
        """From the bound input to the bound output: nothing is copied."""
        self._session.run_with_iobinding(self._binding)

    def outputs(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, classes, ...)`` of samples ``(n, channels, height, width)``."""
        return np.concatenate([self._output(sample) for sample in samples])

    def _output(self, sample: NDArray[np.float32]) -> NDArray[np.float32]:
        self.load(sample)
        self.run()
        return np.array(self._y.numpy())


def classes(outputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The largest of the classes ``(n, classes, ...)``, at every position where there are several."""
    return np.asarray(outputs.argmax(axis=1), np.int64)


def quantized(model: Path, samples: NDArray[np.float32], folder: Path) -> dict[str, Path]:
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
        _quantize(prepared, written[name], _Calibration(graph.input[0], samples), style, excluded)
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

    def __init__(self, source: Any, samples: NDArray[np.float32]) -> None:
        shape = [each.dim_value for each in source.type.tensor_type.shape.dim]
        self._feeds: Iterator[dict[str, Any]] = ({source.name: each.reshape(shape)} for each in samples)

    def get_next(self) -> dict[str, Any] | None:
        """The next feed."""
        return next(self._feeds, None)
