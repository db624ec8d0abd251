"""An instruction set as kernels see it: vector width and integer dot product.

Imports neither tvm nor ray; the intrinsics live in ``network.isas``, one file an instruction set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Isa:
    """Vector width and dot product of an instruction set.

    ``group`` input channels are multiplied and added in one step of the int8 kernels; activations are widened
    to ``activation`` in the padded copy first where the dot product wants that.
    """

    name: str
    lanes: int
    """Floats (and int32 accumulators) in a vector register."""
    registers: int
    group: int
    activation: Literal["uint8", "int16"]
    mcpu: str
    """LLVM's processor or level that implies this instruction set."""
    requires: tuple[str, ...]
    """Features, named as Linux names them in /proc/cpuinfo, that a device must have."""
    mattr: tuple[str, ...] = ()
    """What LLVM is to enable beyond ``mcpu``."""
