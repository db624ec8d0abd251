"""What number formats share that compute in float32 with weights that are stored in fewer bits.

The mean error that rounding causes in each channel is known from calibration data and taken off the bias, as
for int8. A depthwise convolution, whose weights are few, keeps them as they are.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.lowering import completed, interpolation
from network.approximations.method import NumberFormat, Parameters
from network.approximations.rows import mean_window
from network.approximations.stages import Convolve, Stages, last_convolve
from network.kernels.storage import decode
from network.layers import DType
from network.quantization import QParams

SAMPLES = 64
"""Calibration samples behind what rounding is fitted to."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stored(NumberFormat):
    """float32 in; float32 or uint8 out."""

    input_dtype: ClassVar[DType] = "float32"
    usual: ClassVar[bool] = False

    @abstractmethod
    def encode(self, stage: Convolve, x: Floats) -> tuple[NDArray[Any], Floats]:
        """Weights as they are stored and the scale ``(co,)`` of each channel, from samples of its input."""

    def parameters(self, stages: Stages, context: Context, output_dtype: DType) -> tuple[Parameters, ...]:
        """See NumberFormat.parameters."""
        last = last_convolve(stages)
        found: list[Parameters] = []
        x = context.inputs[:SAMPLES]
        for position, stage in enumerate(stages):
            dtype = output_dtype if position >= last else self.input_dtype
            if isinstance(stage, Convolve):
                parameters = self._parameters(stage, x, dtype, context.output_qparams)
                found.append(completed(stage, parameters, dtype, context.output_qparams))
            else:
                found.append(interpolation(stage, dtype, context.output_qparams))
            if position < last:
                x = stage.run(x)
        return tuple(found)

    def _parameters(
        self, stage: Convolve, x: Floats, output_dtype: DType, output: QParams
    ) -> dict[str, NDArray[Any]]:
        weight, scale = stage.weight, np.ones(len(stage.bias), np.float32)
        bias = stage.bias.astype(np.float64)
        if not stage.depthwise:
            weight, scale = self.encode(stage, x)
            bias = bias + self._mean_error(stage, weight, scale, x)
        elif output_dtype == "float32":
            return {"weight": weight, "bias": stage.bias}
        if output_dtype == "uint8":
            scale, bias = scale / np.float32(output.scale), bias / output.scale + output.zero_point
        return {"weight": weight, "scale": scale, "bias": bias.astype(np.float32)}

    def _mean_error(
        self, stage: Convolve, weight: NDArray[Any], scale: Floats, x: Floats
    ) -> NDArray[np.float64]:
        """What rounded weights lack in the mean over samples and positions: ``(co,)``."""
        missing = stage.weight - decode(weight, self.storage) * scale[:, None, None, None]
        return mean_window(replace(stage, weight=missing), stage.read(x))
