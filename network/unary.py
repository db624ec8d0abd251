"""Functions of one number that networks apply to whole tensors, by the names that ONNX has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.errors import NetworkError
from network.quantization import LEVELS, QParams

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Unary:
    """A function by name with its constants, in the order of the name's entry in FUNCTIONS."""

    function: str
    constants: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise NetworkError(f"function {self.function} is not known; use one of {', '.join(FUNCTIONS)}")
        names, _ = FUNCTIONS[self.function]
        if len(names) != len(self.constants):
            raise NetworkError(
                f"function {self.function} takes the constants ({', '.join(names)}) and was given "
                f"{self.constants}; pass exactly those"
            )

    def __str__(self) -> str:
        constants = ",".join(f"{each:.9g}" for each in self.constants)
        return f"{self.function}({constants})" if constants else self.function

    def __call__(self, x: Floats) -> Floats:
        """Every element."""
        _, function = FUNCTIONS[self.function]
        return np.asarray(function(x, *map(np.float32, self.constants)), np.float32)


def composed(chain: Sequence[Unary], x: Floats) -> Floats:
    """One function after the other."""
    for function in chain:
        x = function(x)
    return x


def lookup_table(chain: Sequence[Unary], reads: QParams, writes: QParams) -> NDArray[np.uint8]:
    """What the functions make of each of the 256 stored values, stored: ``Lookup``'s parameter (256,)."""
    return writes.quantize(composed(chain, reads.dequantize(np.arange(LEVELS + 1).astype(np.uint8))))


def _sigmoid(x: Floats) -> Floats:
    # In float64 an exponential of any float32 up to 700 is finite; beyond that the quotient is 0 anyway.
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64).clip(-700, 700))), np.float32)


def _elu(x: Floats, alpha: np.float32) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


FUNCTIONS: Mapping[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "affine": (("scale", "shift"), lambda x, scale, shift: x * scale + shift),
    "clip": (("low", "high"), lambda x, low, high: np.minimum(np.maximum(x, low), high)),
    "elu": (("alpha",), _elu),
    "hard_sigmoid": (("alpha", "beta"), lambda x, alpha, beta: np.clip(x * alpha + beta, 0, 1)),
    "hard_swish": ((), lambda x: x * np.clip(x / 6 + np.float32(0.5), 0, 1)),
    "leaky_relu": (("alpha",), lambda x, alpha: np.where(x > 0, x, x * alpha)),
    "sigmoid": ((), _sigmoid),
    "silu": ((), lambda x: x * _sigmoid(x)),
    "tanh": ((), np.tanh),
}
"""Names of the constants, and the function in numpy."""
