"""An instruction set as kernels see it: vector width and integer dot product.

Imports neither tvm nor ray; the intrinsics live in ``network.isas``, one file an instruction set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Isa:
    """Vector width and dot product of an instruction set.

    ``group`` input channels are multiplied and added in one step of the int8 kernels. Where the dot product
    wants it the padded copy holds ``activation``: ``int16`` is the uint8 widened, ``int8`` the uint8 less
    128, which accumulators make up for by what they start from.
    """

    name: str
    architecture: str
    """As ``uname -m`` names it."""
    lanes: int
    """Floats (and int32 accumulators) in a vector register; without vectors, what fills four registers."""
    registers: int
    """Of that many lanes."""
    group: int
    activation: Literal["uint8", "int8", "int16"]
    dot_scratch: int
    """Registers that ``dot`` needs beside accumulators and weights."""
    mcpu: str
    """LLVM's processor or level that implies this instruction set."""
    requires: tuple[str, ...]
    """Features, named as Linux names them in /proc/cpuinfo, that a device must have."""
    mattr: tuple[str, ...] = ()
    """What LLVM is to enable beyond ``mcpu``."""
    float_scratch: int = 1
    """The same for floats: the activation, and a product where multiply-add is two instructions."""
    threads: int = 1
    """That a kernel may use; a property of the target."""
    adjacent: int = 0
    """How many products of a lane's group lie side by side in a weight vector; 0 is the whole group."""

    def fits(self, architecture: str, features: Iterable[str]) -> bool:
        """Whether a processor of this architecture with these features runs it."""
        return architecture == self.architecture and frozenset(features).issuperset(self.requires)
