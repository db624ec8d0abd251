"""Local response normalisation across channels, as AlexNet and GoogLeNet have it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import check
from network.kernels.plain import Float
from network.variants import Work


@dataclass(frozen=True, slots=True)
class Lrn(Float):
    """``x / (bias + alpha / size * sum(x ** 2)) ** beta`` in float32, the sum over ``size`` channels around.

    ONNX's LRN: of an even number of channels there is one more behind than before. No parameters.
    """

    size: int
    alpha: float
    beta: float
    bias: float

    def __post_init__(self) -> None:
        sizes = min(*self.shape, self.size)
        check(self.key, sizes > 0, "sizes must be at least 1; correct the layer's attributes")
        positive = self.bias > 0 and self.alpha >= 0
        check(self.key, positive, "bias must be above 0 and alpha not below; correct the layer's attributes")

    @property
    @override
    def key(self) -> str:
        h, w, c = self.shape
        return f"lrn {h}x{w}x{c} size{self.size} {self.alpha:.9g} {self.beta:.9g} {self.bias:.9g}"

    @property
    @override
    def elementwise(self) -> int:
        return prod(self.shape) * (self.size + 2)

    @property
    def padded_channels(self) -> int:
        """Squares of one position, with zeros before and behind."""
        return self.shape[2] + self.size - 1

    @override
    def work(self, isa: Isa) -> Work:
        return replace(Float.work(self, isa), workspace_bytes=4 * self.padded_channels)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels import emit

        return emit.function(("x", "y"), self.arguments(isa), partial(self._body, isa))

    def _body(self, isa: Isa, *, x: Any, y: Any) -> None:
        from network.kernels import emit

        height, width, _ = self.shape
        with emit.spread(isa.threads, height, 16 * self.elementwise) as row:
            squares = emit.workspace((self.padded_channels,), "float32")
            with emit.serial(0, self.padded_channels) as at:
                emit.store(squares, emit.constant(0.0, "float32"), at)
            with emit.serial(0, width) as column:
                self._position(isa, x, y, squares, row, column)

    def _position(self, isa: Isa, x: Any, y: Any, squares: Any, row: Any, column: Any) -> None:
        """One pixel, by way of its squares with zeros on either side."""
        from network.kernels import emit

        channels, before = self.shape[2], (self.size - 1) // 2

        def square(channel: Any, lanes: int) -> None:
            value = emit.bind(emit.load(x, row, column * channels + channel, lanes=lanes))
            emit.store(squares, value * value, channel + before, lanes=lanes)

        def normalise(channel: Any, lanes: int) -> None:
            at = column * channels + channel
            value = emit.load(x, row, at, lanes=lanes) * self._factor(squares, channel, lanes)
            emit.store(y, value, row, at, lanes=lanes)

        emit.each_vector(channels, isa.lanes, square)
        emit.each_vector(channels, isa.lanes, normalise)

    def _factor(self, squares: Any, channel: Any, lanes: int) -> Any:
        """``(bias + alpha / size * sum) ** -beta``."""
        from network.kernels import emit
        from network.kernels.vector_functions import exp, log

        total = emit.load(squares, channel, lanes=lanes)
        for offset in range(1, self.size):
            total = total + emit.load(squares, channel + offset, lanes=lanes)
        alpha, beta, bias = (
            emit.constant(each, "float32", lanes) for each in (self.alpha / self.size, -self.beta, self.bias)
        )
        return exp(beta * log(emit.bind(bias + alpha * total), lanes), lanes)
