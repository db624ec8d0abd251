"""AArch64 with the dot product (Cortex-A55, A75, A76 and newer): ``sdot`` of int8, activations less 128."""

from __future__ import annotations

from typing import Any

from network.isa import Isa
from network.isas import aarch64

ISA = Isa(
    name="aarch64_dotprod",
    architecture="aarch64",
    lanes=4,
    registers=32,
    group=4,
    activation="int8",
    dot_scratch=1,
    mcpu="generic",
    requires=(*aarch64.ISA.requires, "asimddp"),
    mattr=("+dotprod",),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from tvm import tirx

    groups = tirx.reinterpret("int8x16", tirx.Broadcast(activations, 4))
    return tirx.call_llvm_pure_intrin("int32x4", "llvm.aarch64.neon.sdot", accumulator, weights, groups)
