"""Weights in 8 bits, computed with in float32: int8 a weight, with a scale for each output channel.

The weights are those of int8 (see ``network.quantization``: of several ranges the one with the least squared
error), the activations stay exact: Jacob et al. 2018 without its harder half.

Error: half a step of 1/127 of a channel's largest weight, mostly averaged out in the sums; less than int8's.
Cost: the layer's own float32 operations and one conversion for each weight and register tile, 1 byte a weight
on disk and in memory. Where weights come from beyond the caches, as in large dense layers, that is faster:
a dense layer of 4096 x 4096 took a quarter of the time, convolutions 1.02 to 1.1 times as long as in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from network.approximations.stages import Convolve
from network.approximations.stored import Floats, Stored
from network.kernels.storage import Storage
from network.quantization import quantize_weight


@dataclass(frozen=True, slots=True)
class W8(Stored):
    """int8 weights."""

    name: ClassVar[str] = "w8"
    storage: ClassVar[Storage] = "int8"

    def encode(self, stage: Convolve, x: Floats) -> tuple[NDArray[Any], Floats]:  # noqa: ARG002
        """See Stored.encode."""
        found = quantize_weight(stage.weight)
        return found.values, found.scale


METHOD = W8()
