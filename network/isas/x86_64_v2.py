"""x86-64-v2: SSE4.2. Multiplies pairs of int16, because ``pmaddubsw`` saturates its sums."""

from __future__ import annotations

from typing import Any

from network.isa import Isa

ISA = Isa(
    name="x86_64_v2",
    architecture="x86_64",
    lanes=4,
    registers=16,
    group=2,
    activation="int16",
    dot_scratch=2,
    mcpu="x86-64-v2",
    requires=("cx16", "lahf_lm", "popcnt", "pni", "ssse3", "sse4_1", "sse4_2"),
    float_scratch=2,
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from network.isas.multiply_add import multiply_add_pairs

    return multiply_add_pairs("llvm.x86.sse2.pmadd.wd", ISA.lanes, accumulator, activations, weights)
