"""x86-64-v3: AVX2 and FMA. Multiplies pairs of int16, because ``vpmaddubsw`` saturates its sums."""

from __future__ import annotations

from typing import Any

from network.isa import Isa
from network.isas import x86_64_v2

ISA = Isa(
    name="x86_64_v3",
    architecture="x86_64",
    lanes=8,
    registers=16,
    group=2,
    activation="int16",
    dot_scratch=2,
    mcpu="x86-64-v3",
    requires=(*x86_64_v2.ISA.requires, "abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from network.isas.multiply_add import multiply_add_pairs

    return multiply_add_pairs("llvm.x86.avx2.pmadd.wd", ISA.lanes, accumulator, activations, weights)
