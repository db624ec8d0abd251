"""RISC-V rv64gc, the least that Linux distributions for it ask for: no vectors, but 64-bit multiplication.

One multiplication makes two products: the weights of two output channels, 32 bits apart, times an activation.
Two int32 sums then share a register; where the lower one is negative it has borrowed from the upper one.
"""

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
    dot_scratch=3,
    mcpu="generic-rv64",
    requires=("m", "a", "f", "d", "c"),
    mattr=("+m", "+a", "+f", "+d", "+c"),
)


def dot(accumulator: Any, activations: Any, weights: Any) -> Any:
    """See ``network.isas.dot``."""
    from tvm import tirx

    def chosen(lanes: tuple[int, int]) -> Any:
        picked = tirx.Shuffle([weights], [tirx.const(lane, "int32") for lane in lanes])
        return tirx.Cast("int64x2", picked)

    # LLVM keeps the two int64 in registers all along: reinterpreting costs nothing.
    pairs = chosen((0, 2)) + (chosen((1, 3)) << tirx.Broadcast(tirx.const(32, "int64"), 2))
    total = tirx.reinterpret("int64x2", accumulator)
    total = total + tirx.Broadcast(tirx.Cast("int64", activations), 2) * pairs
    return tirx.reinterpret("int32x4", total)


def sums(accumulator: Any) -> Any:
    """See ``network.isas.sums``: gives back what was borrowed."""
    from tvm import tirx

    def number(value: int) -> Any:
        return tirx.Broadcast(tirx.const(value, "int64"), 2)

    total = tirx.reinterpret("int64x2", accumulator)
    total = total + (tirx.bitwise_and(total, number(1 << 31)) << number(1))
    return tirx.reinterpret("int32x4", total)
