"""AArch64 with the int8 matrix extension (Cortex-X2, A510, Neoverse V1): ``usdot`` takes uint8 as it is."""

from __future__ import annotations

from typing import Any

from network.isa import Isa
from network.isas import aarch64_dotprod

ISA = Isa(
    name="aarch64_i8mm",
    architecture="aarch64",
    lanes=4,
    registers=32,
    group=4,
    activation="uint8",
    dot_scratch=1,
    mcpu="generic",
    requires=(*aarch64_dotprod.ISA.requires, "i8mm"),
    mattr=("+dotprod", "+i8mm"),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from tvm import tirx

    groups = tirx.reinterpret("uint8x16", tirx.Broadcast(activations, 4))
    return tirx.call_llvm_pure_intrin("int32x4", "llvm.aarch64.neon.usdot", accumulator, groups, weights)
