"""The int8 dot product of Arm without ``sdot``: pairs of products in int16, added in pairs into int32."""

from __future__ import annotations

from typing import Any


def products(activations: Any, weights: Any) -> Any:
    """int16 x 8: for each of four lanes, two sums of two products (``smull``, ``smlal2``).

    ``weights`` are in the order ``[2][lanes][2]``. Exact, because 2 x 128 x 127 fits into int16.
    """
    from tvm import tirx

    def repeated(pair: int) -> Any:
        pairs = tirx.reinterpret("int16x8", tirx.Broadcast(activations, 4))
        return tirx.reinterpret("int8x16", tirx.Shuffle([pairs], [tirx.const(pair, "int32")] * 8))

    def product(half: Any, pair: int) -> Any:
        lanes = (half("int8x8", each) for each in (weights, repeated(pair)))
        first, second = (tirx.Cast("int16x8", each) for each in lanes)
        return first * second

    return product(tirx.vectorlow, 0) + product(tirx.vectorhigh, 1)
