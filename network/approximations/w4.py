"""Weights in 4 bits, computed with in float32: an integer from -7 to 7, with a scale for each output channel.

Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers":
weights are rounded one input after the other, and those that are still to be rounded make up for the error as
well as the inputs' covariance lets them. That is least squares with rounding, in closed form.

Error: half a step of 1/7 of a channel's range, less what the others make up for: on CIFAR-10-quick the
network's divergence is 2 to 20 times less than with plain rounding; all layers together lose 0.1 points.
Cost: the layer's own float32 operations, two shifts and a conversion for each weight and register tile, half
a byte a weight on disk and in memory. Convolutions took 1.3 to 1.6 times as long as in float32, a dense layer
of 4096 x 4096 a third. Weights from a table of 16 values (clustered, Han et al. 2016) take as many bits and
are not offered: their rounding error is 3 dB lower, but looking them up took convolutions 3 to 7 times as
long as floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.rows import Exact, Matrix, inverse_covariance, some_windows
from network.approximations.stages import Convolve
from network.approximations.stored import Floats, Stored
from network.kernels.storage import LARGEST, Storage
from network.quantization import quantize_weight

LARGEST_WINDOW = 2304
"""Inputs of one output (3 x 3 x 256) beyond which that takes minutes: weights are rounded on their own."""


@dataclass(frozen=True, slots=True)
class W4(Stored):
    """int4 weights."""

    name: ClassVar[str] = "w4"
    storage: ClassVar[Storage] = "int4"

    def encode(self, stage: Convolve, x: Floats) -> tuple[NDArray[Any], Floats]:
        """See Stored.encode."""
        levels = LARGEST[self.storage]
        found = quantize_weight(stage.weight, levels)
        if stage.groups > 1 or stage.weight[0].size > LARGEST_WINDOW:
            return found.values, found.scale
        rows = some_windows(stage, x)
        scaled = stage.weight.reshape(len(found.scale), -1).astype(np.float64) / found.scale[:, None]
        values = _rounded(scaled, rows - rows.mean(axis=0), levels)
        return values.reshape(found.values.shape), found.scale


def _rounded(weight: Exact, x: Matrix, levels: int) -> NDArray[np.int8]:
    """Integers for the weights ``(co, columns)`` of centred inputs ``(rows, columns)``."""
    # With U'U the inverse covariance, row i of U says what the later weights owe for an error of weight i.
    owed = np.linalg.cholesky(inverse_covariance(x)).T
    rest, found = weight.copy(), np.zeros(weight.shape, np.int8)
    for column in range(weight.shape[1]):
        value = np.rint(rest[:, column]).clip(-levels, levels)
        found[:, column] = value
        error = (rest[:, column] - value) / owed[column, column]
        rest[:, column + 1 :] -= np.outer(error, owed[column, column + 1 :])
    return found


METHOD = W4()
