"""Softmax over the channels of each position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Float


@dataclass(frozen=True, slots=True)
class Softmax(Float):
    """``exp(x - max) / sum(exp(x - max))`` in float32, so that no exponential overflows. No parameters."""

    def __post_init__(self) -> None:
        check(self.key, min(self.shape) > 0, "sizes must be at least 1; correct the layer's shape")

    @property
    @override
    def key(self) -> str:
        h, w, c = self.shape
        return f"softmax {h}x{w}x{c}"

    @property
    @override
    def elementwise(self) -> int:
        return 3 * prod(self.shape)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        return emit.function(("x", "y"), self.arguments(isa), partial(self._body, isa))

    def _body(self, isa: Isa, *, x: Any, y: Any) -> None:
        from network.kernels import emit

        height, width, channels = self.shape
        with emit.spread(isa.threads, height, 8 * self.elementwise) as row, emit.serial(0, width) as column:
            self._position(
                isa, partial(_Run, x, row, column * channels), partial(_Run, y, row, column * channels)
            )

    def _position(self, isa: Isa, source: Callable[..., _Run], target: Callable[..., _Run]) -> None:
        """Three passes: the maximum, the exponentials with their sum, the quotients."""
        from network.kernels import emit
        from network.kernels.vector_functions import exp

        channels, lowest = self.shape[2], -3.4028234e38
        largest = _reduced(
            channels, isa.lanes, emit.maximum, lowest, lambda at, lanes: source(at, lanes).load()
        )

        def exponential(at: Any, lanes: int) -> Any:
            value = emit.bind(exp(source(at, lanes).load() - emit.splat(largest, lanes), lanes))
            target(at, lanes).store(value)
            return value

        total = _reduced(channels, isa.lanes, lambda a, b: a + b, 0.0, exponential)
        factor = emit.bind(emit.constant(1.0, "float32") / total)

        def divide(at: Any, lanes: int) -> None:
            run = target(at, lanes)
            run.store(run.load() * emit.splat(factor, lanes))

        emit.each_vector(channels, isa.lanes, divide)


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring channels of a position in a buffer."""

    buffer: Any
    row: Any
    first: Any
    at: Any
    lanes: int

    def load(self) -> Any:
        from network.kernels import emit

        return emit.load(self.buffer, self.row, self.first + self.at, lanes=self.lanes)

    def store(self, value: Any) -> None:
        from network.kernels import emit

        emit.store(self.buffer, value, self.row, self.first + self.at, lanes=self.lanes)


def _reduced(
    extent: int,
    lanes: int,
    combine: Callable[[Any, Any], Any],
    start: float,
    value: Callable[[Any, int], Any],
) -> Any:
    """The scalar that ``combine`` makes of ``value(at, lanes)`` over ``extent``, from ``start`` on."""
    from network.kernels import emit

    held = emit.registers(lanes, "float32")
    emit.store(held, emit.constant(start, "float32", lanes), 0, lanes=lanes)

    def add(at: Any, width: int) -> None:
        emit.store(held, combine(emit.load(held, 0, lanes=width), value(at, width)), 0, lanes=width)

    emit.each_vector(extent, lanes, add)
    total = emit.load(held, 0)
    for lane in range(1, lanes):
        total = combine(total, emit.load(held, lane))
    return emit.bind(total)
