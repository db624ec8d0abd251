"""x86-64-v4 with VNNI: ``vpdpbusd`` multiplies and adds groups of four uint8 by int8, without saturation."""

from __future__ import annotations

from typing import Any

from network.isa import Isa
from network.isas import x86_64_v4

ISA = Isa(
    name="x86_64_v4_vnni",
    architecture="x86_64",
    lanes=16,
    registers=32,
    group=4,
    activation="uint8",
    dot_scratch=1,
    mcpu="x86-64-v4",
    requires=(*x86_64_v4.ISA.requires, "avx512_vnni"),
    mattr=("+avx512vnni",),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from tvm import tirx

    # LLVM 22 takes the bytes as bytes; older examples pass them as int32.
    groups = tirx.reinterpret("uint8x64", tirx.Broadcast(activations, 16))
    return tirx.call_llvm_pure_intrin(
        "int32x16", "llvm.x86.avx512.vpdpbusd.512", accumulator, groups, weights
    )
