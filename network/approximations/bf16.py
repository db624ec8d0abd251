"""Weights in 16 bits, computed with in float32: the upper half of each float (bfloat16), rounded.

Kalamkar et al. 2019, "A Study of BFLOAT16 for Deep Learning Training", for storage alone.

Error: at most 1/256 of each weight, which hardly any network notices.
Cost: the layer's own float32 operations and one shift for each weight and register tile, 2 bytes a weight on
disk and in memory. The other half format, fp16, is not offered: its exponent has to be moved as well, which
took 1.4 to 1.9 times as long as float32 where this took 1.1 times (convolutions on AVX-512 and AVX2), for
errors that do not show in either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.stages import Convolve
from network.approximations.stored import Floats, Stored
from network.kernels.storage import Storage, encode_bf16


@dataclass(frozen=True, slots=True)
class Bf16(Stored):
    """bfloat16 weights."""

    name: ClassVar[str] = "bf16"
    storage: ClassVar[Storage] = "bf16"

    def encode(self, stage: Convolve, x: Floats) -> tuple[NDArray[Any], Floats]:  # noqa: ARG002
        """See Stored.encode."""
        return encode_bf16(stage.weight), np.ones(len(stage.weight), np.float32)


METHOD = Bf16()
