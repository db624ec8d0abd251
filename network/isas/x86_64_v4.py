"""x86-64-v4: AVX-512 without VNNI. Multiplies pairs of int16, exactly."""

from __future__ import annotations

from typing import Any

from network.isa import Isa
from network.isas import x86_64_v3

ISA = Isa(
    name="x86_64_v4",
    architecture="x86_64",
    lanes=16,
    registers=32,
    group=2,
    activation="int16",
    dot_scratch=2,
    mcpu="x86-64-v4",
    requires=(*x86_64_v3.ISA.requires, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from network.isas.multiply_add import multiply_add_pairs

    return multiply_add_pairs("llvm.x86.avx512.pmaddw.d.512", ISA.lanes, accumulator, activations, weights)
