"""float32 arithmetic. Of a whole layer it is exact; a method's stages are computed without further error.

Cost: the layer's own operations, 4 bytes a number. Where the next layer reads uint8, the epilogue writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.lowering import completed, interpolation
from network.approximations.method import NumberFormat, Parameters
from network.approximations.stages import Convolve, Stages, last_convolve
from network.layers import DType
from network.quantization import QParams


@dataclass(frozen=True, slots=True)
class Exact(NumberFormat):
    """float32 in; float32 or uint8 out."""

    name: ClassVar[str] = "exact"
    input_dtype: ClassVar[DType] = "float32"

    def parameters(self, stages: Stages, context: Context, output_dtype: DType) -> tuple[Parameters, ...]:
        """See NumberFormat.parameters."""
        last = last_convolve(stages)
        found: list[Parameters] = []
        for position, stage in enumerate(stages):
            dtype = output_dtype if position >= last else self.input_dtype
            if isinstance(stage, Convolve):
                parameters = _parameters(stage, dtype, context.output_qparams)
                found.append(completed(stage, parameters, dtype, context.output_qparams))
            else:
                found.append(interpolation(stage, dtype, context.output_qparams))
        return tuple(found)


def _parameters(stage: Convolve, output_dtype: DType, output: QParams) -> dict[str, NDArray[Any]]:
    if output_dtype == "float32":
        return {"weight": stage.weight, "bias": stage.bias}
    scale = np.full(len(stage.bias), 1 / output.scale, np.float32)
    bias = stage.bias.astype(np.float64) / output.scale + output.zero_point
    return {"weight": stage.weight, "scale": scale, "bias": bias.astype(np.float32)}


METHOD = Exact()
