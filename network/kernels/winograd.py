"""3x3 convolution by Winograd's minimal filtering. The loops are in ``winograd_loops``.

Lavin, Gray 2016, "Fast Algorithms for Convolutional Neural Networks". Tiles of outputs are computed from
transformed tiles of the input: in the transformed space a convolution is one product for each point, so that
16 multiplications do for 4 outputs where 36 would be needed, or 36 for 16 outputs instead of 144.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from network.isa import Isa
from network.kernels.conv2d import Conv2d
from network.kernels.parameters import Parameters, check, checked
from network.kernels.register_tiles import Reduction, promising
from network.layers import DType, Shape
from network.variants import Kernel, TensorSpec, Work

Matrix = tuple[tuple[float, ...], ...]
Tile = tuple[int, int, int]
"""Tiles of outputs that are transformed together, then those and the vectors of output channels that are
accumulated in registers at once."""
WINDOW = 3
_CACHED_BYTES = (128 << 10, 512 << 10, 2 << 20)
"""What transformed inputs may take; the more of them, the fewer times the weights are read."""
_MEASURED = 5


@dataclass(frozen=True, slots=True)
class Transforms:
    """The three matrices of one tile size, in Lavin and Gray's notation."""

    inputs: Matrix
    """B transposed."""
    weights: Matrix
    """G."""
    outputs: Matrix
    """A transposed."""


TRANSFORMS: Mapping[int, Transforms] = {
    2: Transforms(
        inputs=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        weights=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
        outputs=((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
    4: Transforms(
        inputs=(
            (4, 0, -5, 0, 1, 0),
            (0, -4, -4, 1, 1, 0),
            (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0),
            (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1),
        ),
        weights=(
            (1 / 4, 0, 0),
            (-1 / 6, -1 / 6, -1 / 6),
            (-1 / 6, 1 / 6, -1 / 6),
            (1 / 24, 1 / 12, 1 / 6),
            (1 / 24, -1 / 12, 1 / 6),
            (0, 0, 1),
        ),
        outputs=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    ),
}


def points_of(size: int) -> int:
    """Products of a tile of that size, for each pair of channels."""
    return (size + WINDOW - 1) ** 2


def grid_of(output_shape: Shape, size: int) -> tuple[int, int]:
    """Rows and columns of the tiles of that size that cover an output."""
    return ceil(output_shape[0] / size), ceil(output_shape[1] / size)


@dataclass(frozen=True, slots=True)
class Winograd(Kernel):
    """``Conv2d`` of float32 with a 3x3 window and stride 1, and its parameters.

    Rounding errors are a few times those of the sum itself, with ``size`` 4 some ten times.
    """

    input_shape: Shape
    output_channels: int
    padding: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    output_dtype: DType = field()  # Without field(), the base's property would be taken for a default.
    relu: bool
    size: int
    """Rows and columns of outputs in a tile: 2 or 4."""
    clip: float = 0.0
    """Upper bound behind a float32 relu; 0 is none."""

    def __post_init__(self) -> None:
        check(self.key, self.size in TRANSFORMS, f"tiles have sizes {', '.join(map(str, TRANSFORMS))}")
        fits = min(self.output_shape[:2]) >= self.size
        check(self.key, fits, "the output must hold a tile; take a smaller one or Conv2d")

    @property
    def convolution(self) -> Conv2d:
        """What it computes. Raises NetworkError where the sizes do not fit each other."""
        return Conv2d(
            self.input_shape,
            self.output_channels,
            self.kernel,
            self.stride,
            self.padding,
            self.input_dtype,
            self.output_dtype,
            relu=self.relu,
            clip=self.clip,
        )

    @property
    @override
    def key(self) -> str:
        return f"winograd{self.size}" + self.convolution.key.removeprefix("conv2d")

    @property
    @override
    def output_shape(self) -> Shape:
        return self.convolution.output_shape

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the window."""
        return WINDOW, WINDOW

    @property
    def stride(self) -> tuple[int, int]:
        """Of the windows."""
        return 1, 1

    @property
    def input_dtype(self) -> DType:
        """Integers are not transformed: they would need more bits."""
        return "float32"

    @property
    def channels(self) -> int:
        """Input channels, of the padded copy too."""
        return self.input_shape[2]

    @property
    def selected(self) -> int:
        """All channels are taken as they are."""
        return 0

    @property
    def margin(self) -> tuple[int, int]:
        """Rows of padding above the input, and columns to its left."""
        return self.padding[0], self.padding[1]

    @property
    def points(self) -> int:
        """Products of a tile, for each pair of channels."""
        return points_of(self.size)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles; the last ones are moved back and compute some outputs twice."""
        return grid_of(self.output_shape, self.size)

    def copied(self, isa: Isa) -> tuple[int, int] | None:  # noqa: ARG002 - what padded copies are asked
        """Rows and elements a row of the padded copy, if one is needed."""
        if not any(self.padding):
            return None
        rows, columns, _ = self.output_shape
        return rows + WINDOW - 1, (columns + WINDOW - 1) * self.channels

    def copy_dtype(self, isa: Isa) -> str:  # noqa: ARG002
        """Element type of the padded copy."""
        return self.input_dtype

    def blocks(self, isa: Isa) -> int:
        """Vectors of output channels; the last may be partial."""
        return self.convolution.blocks(isa)

    @override
    def tiles(self, isa: Isa) -> tuple[Tile, ...]:
        count, each = prod(self.grid), 4 * self.points * self.channels
        # Every thread is to have a share of the tiles.
        most = ceil(count / isa.threads)
        found: dict[Tile, None] = {}
        for cached in _CACHED_BYTES:
            columns = max(1, min(most, cached // each))
            nest = Reduction(
                rows=1,
                columns=columns,
                blocks=self.blocks(isa),
                steps=self.channels,
                vector_bytes=4 * isa.lanes,
                scratch=isa.float_scratch,
            )
            for _, tiles, blocks, *_ in promising(isa, nest)[:2]:
                found[columns // tiles * tiles, tiles, blocks] = None
        return tuple(found)[:_MEASURED]

    def parameters(self) -> dict[str, TensorSpec]:
        """The parameters as they are before packing, in the order of the call."""
        return self.convolution.parameters()

    def packed(self, isa: Isa) -> dict[str, TensorSpec]:
        """The parameters as they are after packing, in the order of the call."""
        weight = TensorSpec((self.blocks(isa), self.points, self.channels, isa.lanes), "float32")
        return self.parameters() | {"weight": weight}

    @override
    def arguments(self, isa: Isa) -> tuple[TensorSpec, ...]:
        (h, w, c), (oh, ow, co) = self.input_shape, self.output_shape
        return (
            TensorSpec((h, w * c), self.input_dtype),
            *self.packed(isa).values(),
            TensorSpec((oh, ow * co), self.output_dtype),
        )

    @override
    def work(self, isa: Isa) -> Work:
        copied = prod(self.copied(isa) or (0,))
        together, _, blocks = self.tiles(isa)[0]
        transformed = self.points * together * (self.channels + blocks * isa.lanes)
        return Work.of(
            self.arguments(isa),
            self.inputs,
            macs=prod(self.grid) * self.points * self.channels * self.output_channels,
            elementwise=copied + prod(self.grid) * 2 * self.points * (self.channels + self.output_channels),
            workspace_bytes=4 * (copied + transformed),
        )

    @override
    def pack(self, isa: Isa, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        """The weight is transformed in float64."""
        arrays = checked(self.key, self.parameters(), parameters)
        matrix = np.array(TRANSFORMS[self.size].weights)
        points = np.einsum("pi,oijc,qj->opqc", matrix, arrays["weight"].astype(np.float64), matrix)
        co, blocks = self.output_channels, self.blocks(isa)
        padded = np.zeros((blocks * isa.lanes, self.points, self.channels), np.float32)
        padded[:co] = points.reshape(co, self.points, self.channels)
        split = padded.reshape(blocks, isa.lanes, self.points, self.channels)
        arrays["weight"] = np.ascontiguousarray(split.transpose(0, 2, 3, 1))
        return tuple(arrays.values())

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels.winograd_loops import winograd

        return winograd(self, isa, tile)
