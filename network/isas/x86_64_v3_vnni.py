"""x86-64-v3 with AVX-VNNI: ``vpdpbusd`` without AVX-512 (Alder Lake and the small cores after it)."""

from __future__ import annotations

from typing import Any

from network.isa import Isa
from network.isas import x86_64_v3

ISA = Isa(
    name="x86_64_v3_vnni",
    architecture="x86_64",
    lanes=8,
    registers=16,
    group=4,
    activation="uint8",
    dot_scratch=1,
    mcpu="x86-64-v3",
    requires=(*x86_64_v3.ISA.requires, "avx_vnni"),
    mattr=("+avxvnni",),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from tvm import tirx

    groups = tirx.reinterpret("uint8x32", tirx.Broadcast(activations, 8))
    return tirx.call_llvm_pure_intrin("int32x8", "llvm.x86.avx512.vpdpbusd.256", accumulator, groups, weights)
