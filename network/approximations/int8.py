"""8-bit integers: uint8 activations, int8 weights, sums in int32, everything affine in a float32 epilogue.

Jacob et al. 2018 (see ``network.quantization``) with the bias correction of Nagel et al. 2019, "Data-Free
Quantization Through Weight Equalization and Bias Correction", from calibration data: the mean error that
rounding weights and inputs causes in each channel is known and taken off the bias.

Error: half a step of 1/255 of the range of each tensor, mostly averaged out in the sums.
Cost: the layer's operations at the rate of the integer dot product, 1 byte a weight and an activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.lowering import conv2d, interpolate, last_convolve, plain_kernel, vector
from network.approximations.method import Lowered, NumberFormat
from network.approximations.stages import Convolve, Stages
from network.layers import DType, Layer
from network.quantization import QParams, QuantizedWeight, calibrate, quantize_weight
from network.variants import Step
from network.windows import Window, windows

SAMPLES = 64
"""Calibration samples behind the statistics inside a layer; its outputs have their range from all of them."""


@dataclass(frozen=True, slots=True)
class Int8(NumberFormat):
    """uint8 in; uint8 or float32 out."""

    name: ClassVar[str] = "int8"
    input_dtype: ClassVar[DType] = "uint8"

    def lower(self, stages: Stages, context: Context, output_dtype: DType) -> tuple[Step, ...]:
        """See NumberFormat.lower; tensors between stages are calibrated like those between layers."""
        steps: list[Step] = []
        dtype = self.input_dtype
        x, qparams = context.inputs[:SAMPLES], context.input_qparams
        for position, stage in enumerate(stages):
            if isinstance(stage, Convolve):
                last = position == last_convolve(stages)
                dtype = output_dtype if last else "uint8"
                y = x if last else stage.run(x)
                output = context.output_qparams if last else calibrate(y)
                parameters = _parameters(stage, x, qparams, output, dtype)
                steps.append(conv2d(stage, "uint8", dtype, parameters))
                x, qparams = y, output
            else:
                steps.append(interpolate(stage, dtype, context.output_qparams))
        return tuple(steps)

    def lower_plain(self, layer: Layer, context: Context) -> Lowered | None:
        """See NumberFormat.lower_plain; the network's output is float32, so there it does not apply."""
        if context.last:
            return None
        kernel, qparams = plain_kernel(layer, "uint8"), context.output_qparams
        if layer.op == "input":
            scale, zero_point = vector(1 / qparams.scale, np.float32), vector(qparams.zero_point, np.float32)
            return "float32", "uint8", (Step(kernel, {"scale": scale, "zero_point": zero_point}),)
        padded_average = layer.op == "avg_pool" and layer.count_include_pad and any(layer.padding)
        needs_zero = layer.op == "relu" or padded_average
        parameters = {"zero_point": vector(qparams.zero_point, np.uint8)} if needs_zero else {}
        return "uint8", "uint8", (Step(kernel, parameters),)


def _parameters(
    stage: Convolve, x: NDArray[np.float32], inputs: QParams, outputs: QParams, output_dtype: DType
) -> dict[str, NDArray[Any]]:
    weight = quantize_weight(stage.weight)
    bias = stage.bias + _mean_error(stage, weight, x, inputs)
    scale = weight.scale.astype(np.float64) * inputs.scale
    bias = bias - scale * inputs.zero_point * weight.values.sum(axis=(1, 2, 3), dtype=np.int64)
    if output_dtype == "uint8":
        scale, bias = scale / outputs.scale, bias / outputs.scale + outputs.zero_point
    return {
        "weight": weight.values,
        "scale": scale.astype(np.float32),
        "bias": bias.astype(np.float32),
        "zero_point": vector(inputs.zero_point, np.uint8),
    }


def _mean_error(
    stage: Convolve, weight: QuantizedWeight, x: NDArray[np.float32], inputs: QParams
) -> NDArray[np.float64]:
    """What quantized inputs and weights lack in the mean over samples and positions: ``(co,)``."""
    kept = x if stage.index is None else x[..., stage.index]
    exact = _mean_window(stage, kept)
    stored = _mean_window(stage, inputs.dequantize(inputs.quantize(kept)))
    rows = (len(stage.weight), -1)
    return stage.weight.reshape(rows) @ exact - weight.dequantize().reshape(rows) @ stored


def _mean_window(stage: Convolve, x: NDArray[np.float32]) -> NDArray[np.float64]:
    image = x.mean(axis=0, dtype=np.float64, keepdims=True)
    kernel = (stage.weight.shape[1], stage.weight.shape[2])
    seen = windows(image, Window(kernel, stage.stride, stage.padding))
    return np.asarray(seen.mean(axis=(0, 1, 2)).reshape(-1))


METHOD = Int8()
