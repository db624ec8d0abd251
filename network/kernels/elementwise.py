"""Functions of one number applied to every element, a whole chain of them in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Float
from network.unary import Unary


@dataclass(frozen=True, slots=True)
class Elementwise(Float):
    """The functions of ``chain``, one after the other, of float32; uint8 has ``Lookup``. No parameters.

    Exponentials are exact to about two units in the last place, ``tanh`` to 2e-7.
    """

    chain: tuple[Unary, ...]

    def __post_init__(self) -> None:
        check(self.key, min(self.shape) > 0, "sizes must be at least 1; correct the layer's shape")
        check(self.key, len(self.chain) > 0, "a chain has at least one function; name one")

    @property
    @override
    def key(self) -> str:
        h, w, c = self.shape
        return f"elementwise {h}x{w}x{c} {' '.join(map(str, self.chain))}"

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.shape) * len(self.chain)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        return emit.function(("x", "y"), self.arguments(isa), partial(self._body, isa))

    def _body(self, isa: Isa, *, x: Any, y: Any) -> None:
        from network.kernels import emit
        from network.kernels.vector_functions import apply

        height, width, channels = self.shape
        with emit.spread(isa.threads, height, self.elementwise) as row:

            def compute(at: Any, lanes: int) -> None:
                value = emit.bind(emit.load(x, row, at, lanes=lanes))
                for function in self.chain:
                    value = emit.bind(apply(function, value, lanes))
                emit.store(y, value, row, at, lanes=lanes)

            emit.each_vector(width * channels, isa.lanes, compute)
