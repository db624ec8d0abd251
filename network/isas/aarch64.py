"""AArch64 with what every processor of it has: NEON, no dot product (Cortex-A53, A57, A72)."""

from __future__ import annotations

from typing import Any

from network.isa import Isa

ISA = Isa(
    name="aarch64",
    architecture="aarch64",
    lanes=4,
    registers=32,
    group=4,
    adjacent=2,
    activation="int8",
    dot_scratch=9,
    mcpu="cortex-a72",
    requires=("asimd",),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from tvm import tirx

    from network.isas.pairwise import products

    # LLVM joins the addition with it: sadalp.
    pairs = products(activations, weights)
    return accumulator + tirx.call_llvm_pure_intrin("int32x4", "llvm.aarch64.neon.saddlp", pairs)
