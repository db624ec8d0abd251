"""How the float weights of a convolution are stored, and what decodes them in its inner loop.

All have a scale for each output channel. Decoding takes conversions and shifts that every instruction
set has, once for all pixels of a register tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Storage = Literal["", "int8", "int4", "bf16"]
"""As they are multiplied; integers; the upper halves of floats."""
PARAMETER = {"int8": "int8", "int4": "int8", "bf16": "uint16"}
"""Element type of the unpacked weights; bf16 as its bits."""
LARGEST = {"int8": 127, "int4": 7}
"""Integers reach from minus that to that."""
_NIBBLES = 8
"""In a word of 32 bits: a lane's weights of so many steps."""


def bits(storage: Storage) -> int:
    """Of a stored weight."""
    return {"": 32, "int8": 8, "int4": 4, "bf16": 16}[storage]


def words(steps: int) -> int:
    """Words that hold a lane's int4 weights of so many steps."""
    return -(-steps // _NIBBLES)


def pack_nibbles(weight: NDArray[np.int8]) -> NDArray[np.int32]:
    """From ``(blocks, lines, steps, lanes)`` to ``(blocks, words, lanes)``, the first step lowest."""
    blocks, lines, steps, lanes = weight.shape
    padded = np.zeros((blocks, words(lines * steps) * _NIBBLES, lanes), np.uint32)
    padded[:, : lines * steps] = weight.reshape(blocks, -1, lanes).astype(np.int32).view(np.uint32) & 15
    shifts = 4 * np.arange(_NIBBLES, dtype=np.uint32)[:, None]
    split = padded.reshape(blocks, -1, _NIBBLES, lanes) << shifts
    return np.bitwise_or.reduce(split, axis=2).view(np.int32)


def encode_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest floats with 8 bits of fraction and sign, as their upper halves; halves to even."""
    whole = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype(np.uint16)


def decode(values: NDArray[Any], storage: Storage) -> NDArray[np.float32]:
    """The floats, ahead of the scale, that unpacked weights stand for."""
    if storage == "bf16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Decoder:
    """Emits the loads of one kernel's packed weights."""

    storage: Storage
    steps: int
    """Of a line."""
    lanes: int

    def load(self, weight: Any, block: Any, line: Any, step: Any) -> Any:
        """The floats of one step, ahead of the scale."""
        from network.kernels import emit

        if self.storage == "int4":
            return self._nibble(weight, block, line * self.steps + step)
        value = emit.load(weight, block, line, step, 0, lanes=self.lanes)
        if self.storage == "int8":
            return emit.cast(value, "float32", self.lanes)
        high = emit.cast(value, "uint32", self.lanes) << emit.constant(16, "uint32", self.lanes)
        return emit.reinterpret(high, emit.vector("float32", self.lanes))

    def _nibble(self, weight: Any, block: Any, step: Any) -> Any:
        """Shifted to the top, and down again with its sign."""
        from network.kernels import emit

        word = emit.load(weight, block, step // _NIBBLES, 0, lanes=self.lanes)
        above = emit.splat(28 - step % _NIBBLES * 4, self.lanes)
        signed = (word << above) >> emit.constant(28, "int32", self.lanes)
        return emit.cast(signed, "float32", self.lanes)
