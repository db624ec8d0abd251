"""The int8 dot product of every x86 level without VNNI: int16 pairs, multiplied and added into int32."""

from __future__ import annotations

from typing import Any


def multiply_add_pairs(instruction: str, lanes: int, accumulator: Any, activations: Any, weights: Any) -> Any:
    """``pmaddwd`` on weights that are widened as they are loaded: exact for uint8 times int8."""
    from tvm import tirx

    wide = f"int16x{2 * lanes}"
    pairs = tirx.reinterpret(wide, tirx.Broadcast(activations, lanes))
    products = tirx.call_llvm_pure_intrin(f"int32x{lanes}", instruction, pairs, tirx.Cast(wide, weights))
    return accumulator + products
