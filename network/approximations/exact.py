"""float32 arithmetic. Of a whole layer it is exact; a method's stages are computed without further error.

Cost: the layer's own operations, 4 bytes a number. Where the next layer reads uint8, the epilogue writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.lowering import conv2d, interpolate, last_convolve, plain_kernel
from network.approximations.method import Lowered, NumberFormat
from network.approximations.stages import Convolve, Stages
from network.layers import DType, Layer
from network.quantization import QParams
from network.variants import Step


@dataclass(frozen=True, slots=True)
class Exact(NumberFormat):
    """float32 in; float32 or uint8 out."""

    name: ClassVar[str] = "exact"
    input_dtype: ClassVar[DType] = "float32"

    def lower(self, stages: Stages, context: Context, output_dtype: DType) -> tuple[Step, ...]:
        """See NumberFormat.lower."""
        steps: list[Step] = []
        dtype = self.input_dtype
        for position, stage in enumerate(stages):
            if isinstance(stage, Convolve):
                dtype = output_dtype if position == last_convolve(stages) else self.input_dtype
                parameters = _parameters(stage, dtype, context.output_qparams)
                steps.append(conv2d(stage, self.input_dtype, dtype, parameters))
            else:
                steps.append(interpolate(stage, dtype, context.output_qparams))
        return tuple(steps)

    def lower_plain(self, layer: Layer, context: Context) -> Lowered | None:  # noqa: ARG002 - int8 needs it
        """See NumberFormat.lower_plain; one channel is in NHWC order already, so reading it is free."""
        if layer.op == "input" and layer.output_shape[2] == 1:
            return "float32", "float32", ()
        return "float32", "float32", (Step(plain_kernel(layer, "float32"), {}),)


def _parameters(stage: Convolve, output_dtype: DType, output: QParams) -> dict[str, NDArray[Any]]:
    if output_dtype == "float32":
        return {"weight": stage.weight, "bias": stage.bias}
    scale = np.full(len(stage.bias), 1 / output.scale, np.float32)
    bias = stage.bias.astype(np.float64) / output.scale + output.zero_point
    return {"weight": stage.weight, "scale": scale, "bias": bias.astype(np.float32)}


METHOD = Exact()
