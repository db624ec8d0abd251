"""8-bit integers: uint8 activations, int8 weights, sums in int32, everything affine in a float32 epilogue.

Jacob et al. 2018 (see ``network.quantization``) with the bias correction of Nagel et al. 2019, "Data-Free
Quantization Through Weight Equalization and Bias Correction", from calibration data: the mean error that
rounding weights and inputs causes in each channel is known and taken off the bias.

Error: half a step of 1/255 of the range of each tensor, mostly averaged out in the sums.
Cost: the layer's operations at the rate of the integer dot product, 1 byte a weight and an activation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.lowering import completed, interpolation
from network.approximations.method import NumberFormat, Parameters
from network.approximations.plain import vector
from network.approximations.rows import mean_window
from network.approximations.stages import Convolve, Stages, last_convolve
from network.layers import DType
from network.quantization import QParams, QuantizedWeight, calibrate, quantize_weight

SAMPLES = 64
"""Calibration samples behind the statistics inside a layer; its outputs have their range from all of them."""


@dataclass(frozen=True, slots=True)
class Int8(NumberFormat):
    """uint8 in; uint8 or float32 out."""

    name: ClassVar[str] = "int8"
    input_dtype: ClassVar[DType] = "uint8"

    def parameters(self, stages: Stages, context: Context, output_dtype: DType) -> tuple[Parameters, ...]:
        """See NumberFormat.parameters; tensors between stages are calibrated like those between layers."""
        last = last_convolve(stages)
        found: list[Parameters] = []
        x, qparams = context.inputs[:SAMPLES], context.input_qparams
        for position, stage in enumerate(stages):
            if not isinstance(stage, Convolve):
                found.append(interpolation(stage, output_dtype, context.output_qparams))
            elif position == last:
                found.append(_parameters(stage, x, qparams, context.output_qparams, output_dtype))
            else:
                y = stage.run(x)
                between = calibrate(y)
                found.append(_parameters(stage, x, qparams, between, "uint8"))
                x, qparams = y, between
        return tuple(found)


def _parameters(
    stage: Convolve, x: NDArray[np.float32], inputs: QParams, outputs: QParams, output_dtype: DType
) -> Parameters:
    weight = quantize_weight(stage.weight)
    bias = stage.bias + _mean_error(stage, weight, x, inputs)
    scale = weight.scale.astype(np.float64) * inputs.scale
    bias = bias - scale * inputs.zero_point * weight.values.sum(axis=(1, 2, 3), dtype=np.int64)
    if output_dtype == "uint8":
        scale, bias = scale / outputs.scale, bias / outputs.scale + outputs.zero_point
    parameters = {
        "weight": weight.values,
        "scale": scale.astype(np.float32),
        "bias": bias.astype(np.float32),
        "zero_point": vector(inputs.zero_point, np.uint8),
    }
    return completed(stage, parameters, output_dtype, outputs)


def _mean_error(
    stage: Convolve, weight: QuantizedWeight, x: NDArray[np.float32], inputs: QParams
) -> NDArray[np.float64]:
    """What quantized inputs and weights lack in the mean over samples and positions: ``(co,)``."""
    kept = stage.read(x)
    stored = replace(stage, weight=weight.dequantize())
    return mean_window(stage, kept) - mean_window(stored, inputs.dequantize(inputs.quantize(kept)))


METHOD = Int8()
