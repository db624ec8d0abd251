"""32-bit Arm with NEON and VFPv4 (Cortex-A7, A15, A17): as AArch64, with half the registers."""

from __future__ import annotations

from typing import Any

from network.isa import Isa

ISA = Isa(
    name="armv7l",
    architecture="armv7l",
    lanes=4,
    registers=16,
    group=4,
    adjacent=2,
    activation="int8",
    dot_scratch=8,
    mcpu="generic",
    requires=("neon", "vfpv4"),
    mattr=("+neon", "+vfp4"),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from tvm import tirx

    from network.isas.pairwise import products

    pairs = products(activations, weights)
    return tirx.call_llvm_pure_intrin("int32x4", "llvm.arm.neon.vpadals", accumulator, pairs)
