"""RISC-V rv64gc, which every Linux distribution for it builds upon: no vectors, one product at a time."""

from __future__ import annotations

from typing import Any

from network.isa import Isa

ISA = Isa(
    name="riscv64",
    architecture="riscv64",
    lanes=4,
    registers=8,
    group=1,
    activation="uint8",
    # Integer sums share their registers with addresses, counters and the stack pointer.
    dot_scratch=4,
    mcpu="generic-rv64",
    requires=("m", "a", "f", "d", "c"),
    mattr=("+m", "+a", "+f", "+d", "+c"),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from tvm import tirx

    return accumulator + tirx.Broadcast(activations, 4) * tirx.Cast("int32x4", weights)
