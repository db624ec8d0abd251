"""Depthwise convolution: every channel has a window of its own. The loops are in ``depthwise_loops``."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from network.isa import Isa
from network.kernels.conv2d import Conv2d
from network.kernels.parameters import Parameters, check, checked
from network.layers import DType, Shape
from network.variants import Kernel, TensorSpec, Work

Tile = tuple[int, int]
"""Output columns and vectors of channels that are accumulated in registers at once."""

_MEASURED = 5
"""Each costs a compilation and a measurement on every device class."""
_EXACT_TAPS = 513
"""So many products of uint8 and int8 add up exactly in float32: 513 * 255 * 128 < 2 ** 24."""


@dataclass(frozen=True, slots=True)
class Depthwise(Kernel):
    """``Conv2d`` with as many groups as channels, one input and one output each, and its parameters.

    Integers are multiplied and added as floats, exactly: fewer conversions than any integer product takes.
    """

    input_shape: Shape
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    input_dtype: DType
    output_dtype: DType = field()  # Without field(), the base's property would be taken for a default.
    relu: bool
    dilation: tuple[int, int] = (1, 1)
    clip: float = 0.0
    """Upper bound behind a float32 relu; 0 is none."""

    def __post_init__(self) -> None:
        exact = self.input_dtype == "float32" or prod(self.kernel) <= _EXACT_TAPS
        check(self.key, exact, f"uint8 windows have at most {_EXACT_TAPS} elements; use float32")

    @property
    def convolution(self) -> Conv2d:
        """What it computes. Raises NetworkError where the sizes do not fit each other."""
        return Conv2d(
            self.input_shape,
            self.input_shape[2],
            self.kernel,
            self.stride,
            self.padding,
            self.input_dtype,
            self.output_dtype,
            relu=self.relu,
            dilation=self.dilation,
            groups=self.input_shape[2],
            clip=self.clip,
        )

    @property
    @override
    def key(self) -> str:
        return "depthwise" + self.convolution.key.removeprefix("conv2d")

    @property
    @override
    def output_shape(self) -> Shape:
        return self.convolution.output_shape

    @property
    def integer(self) -> bool:
        """Whether products are uint8 x int8."""
        return self.input_dtype == "uint8"

    @override
    def tiles(self, isa: Isa) -> tuple[Tile, ...]:
        vectors = ceil(self.input_shape[2] / isa.lanes)
        # The other half holds weights and elements that several columns read.
        accumulators = isa.registers // 2
        candidates = (
            (columns, blocks)
            for columns, blocks in product(range(1, accumulators + 1), (1, 2, 4))
            if columns <= self.output_shape[1] and blocks <= vectors and columns * blocks <= accumulators
        )
        return tuple(sorted(candidates, key=lambda tile: (self._cycles(isa, tile), tile))[:_MEASURED])

    def _cycles(self, isa: Isa, tile: Tile) -> float:
        """Of a row of outputs: two multiply-adds or loads a cycle, and what entering a tile costs."""
        (columns, blocks), (kh, kw) = tile, self.kernel
        seen = min((columns - 1) * self.stride[1] + kw, columns * kw)
        products, loads = columns * kw, seen + kw
        tiles = ceil(self.output_shape[1] / columns) * ceil(self.input_shape[2] / (blocks * isa.lanes))
        return tiles * (kh * (max(products, loads) * blocks / 2 + 1) + 6 + 2 * columns * blocks)

    def parameters(self) -> dict[str, TensorSpec]:
        """The parameters as they are before packing, in the order of the call."""
        return self.convolution.parameters()

    @override
    def arguments(self, isa: Isa) -> tuple[TensorSpec, ...]:
        specs = self.parameters()
        specs["weight"] = TensorSpec((prod(self.kernel), self.input_shape[2]), specs["weight"].dtype)
        (h, w, c), (oh, ow, _) = self.input_shape, self.output_shape
        return (
            TensorSpec((h, w * c), self.input_dtype),
            *specs.values(),
            TensorSpec((oh, ow * c), self.output_dtype),
        )

    @override
    def work(self, isa: Isa) -> Work:
        return Work.of(
            self.arguments(isa),
            self.inputs,
            macs=prod(self.output_shape) * prod(self.kernel),
            elementwise=prod(self.output_shape),
        )

    @override
    def pack(self, isa: Isa, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        arrays = checked(self.key, self.parameters(), parameters)
        arrays["weight"] = np.ascontiguousarray(arrays["weight"].reshape(self.input_shape[2], -1).T)
        return tuple(arrays.values())

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels.depthwise_loops import depthwise

        return depthwise(self, isa, tile)
