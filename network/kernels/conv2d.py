"""Convolution and dense, float32 and uint8 x int8: what they compute, and how their weights are packed.

The loops are in ``conv2d_loops``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from network.isa import Isa
from network.kernels.parameters import Parameters, check, checked
from network.kernels.register_tiles import Reduction, Tile, promising
from network.layers import DType, Shape
from network.variants import Kernel, TensorSpec, Work


@dataclass(frozen=True, slots=True)
class Conv2d(Kernel):
    """``sum(x * w)`` over a window, then bias, scale, clamp or relu; dense is the window of the whole input.

    float32 to float32 is ``sum + bias``. With uint8 on either side it is ``sum * scale + bias`` per output
    channel, rounded half to even and clamped to 0..255 where the output is uint8; that output's zero point
    is part of the bias, and relu is the clamp at 0. ``selected`` input channels are gathered by ``index``;
    0 takes all.

    Parameters: ``weight`` (co, kh, kw, ci or selected) float32, int8 for uint8 input; ``bias`` (co,) float32;
    ``scale`` (co,) float32 unless float32 to float32; ``zero_point`` (1,) uint8 for uint8 input, what padding
    holds; ``index`` (selected,) int32.
    """

    input_shape: Shape
    output_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    input_dtype: DType
    output_dtype: DType = field()  # Without field(), the base's property would be taken for a default.
    relu: bool
    selected: int = 0

    def __post_init__(self) -> None:
        sizes = (*self.input_shape, self.output_channels, *self.kernel, *self.stride)
        check(
            self.key, min(sizes) > 0, "sizes and strides must be at least 1; correct the layer's attributes"
        )
        fits = min(self.output_shape) > 0 and min(self.padding) >= 0
        check(self.key, fits, "the window must fit into the padded input; correct kernel or padding")
        in_range = 0 <= self.selected <= self.input_shape[2]
        check(self.key, in_range, f"selected must be 0..{self.input_shape[2]}, the input's channels")

    @property
    @override
    def key(self) -> str:
        (h, w, c), (kh, kw), (sh, sw) = self.input_shape, self.kernel, self.stride
        padding = ",".join(map(str, self.padding))
        relu, selected = " relu" if self.relu else "", f" of{self.selected}" if self.selected else ""
        return (
            f"conv2d {h}x{w}x{c}>{self.output_channels} k{kh}x{kw} s{sh}x{sw} p{padding} "
            f"{self.input_dtype}>{self.output_dtype}{relu}{selected}"
        )

    @property
    @override
    def output_shape(self) -> Shape:
        (h, w, _), (kh, kw), (sh, sw) = self.input_shape, self.kernel, self.stride
        top, left, bottom, right = self.padding
        return (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1, self.output_channels

    @property
    def integer(self) -> bool:
        """Whether products are uint8 x int8."""
        return self.input_dtype == "uint8"

    @property
    def scaled(self) -> bool:
        """Whether sums are scaled before the bias."""
        return self.integer or self.output_dtype == "uint8"

    @property
    def channels(self) -> int:
        """Input channels that are multiplied."""
        return self.selected or self.input_shape[2]

    def group(self, isa: Isa) -> int:
        """Products that one step adds to an accumulator."""
        return isa.group if self.integer else 1

    def steps(self, isa: Isa) -> int:
        """Steps along a window's row: ``kernel width * channels`` neighbours in memory, in groups."""
        return -(-self.kernel[1] * self.channels // self.group(isa))

    def blocks(self, isa: Isa) -> int:
        """Vectors of output channels; the last may be partial."""
        return -(-self.output_channels // isa.lanes)

    def copied(self, isa: Isa) -> tuple[int, int] | None:
        """Rows and elements a row of the padded copy that is read instead of the input, if one is needed.

        It pads, gathers, widens, or gives the last group of a row something to read beyond its end.
        """
        uneven = self.steps(isa) * self.group(isa) != self.kernel[1] * self.channels
        widened = self.integer and isa.activation != "uint8"
        if not (any(self.padding) or self.selected or uneven or widened):
            return None
        rows, columns, _ = self.output_shape
        height = (rows - 1) * self.stride[0] + self.kernel[0]
        last_window = (columns - 1) * self.stride[1] * self.channels
        return height, last_window + self.steps(isa) * self.group(isa)

    def copy_dtype(self, isa: Isa) -> str:
        """Element type of the padded copy."""
        return isa.activation if self.integer else self.input_dtype

    @override
    def tiles(self, isa: Isa) -> tuple[Tile, ...]:
        rows, columns, _ = self.output_shape
        # Without fused multiply-add or dot-and-add, a product needs a register of its own.
        fused = isa.lanes > 4 if not self.integer else isa.group == 4
        nest = Reduction(
            rows=rows,
            columns=columns,
            blocks=self.blocks(isa),
            steps=self.kernel[0] * self.steps(isa),
            vector_bytes=isa.lanes * 4 if not self.integer else isa.lanes * isa.group,
            scratch=1 if fused else 2,
        )
        return promising(isa, nest)

    def parameters(self) -> dict[str, TensorSpec]:
        """The parameters as they are before packing, in the order of the call."""
        co, weight = self.output_channels, (*self.kernel, self.channels)
        specs = {
            "weight": TensorSpec((co, *weight), "int8" if self.integer else "float32"),
            "bias": TensorSpec((co,), "float32"),
        }
        if self.scaled:
            specs["scale"] = TensorSpec((co,), "float32")
        if self.integer:
            specs["zero_point"] = TensorSpec((1,), "uint8")
        if self.selected:
            specs["index"] = TensorSpec((self.selected,), "int32", fill="range")
        return specs

    @override
    def arguments(self, isa: Isa) -> tuple[TensorSpec, ...]:
        specs = self.parameters()
        vector = isa.lanes * self.group(isa)
        packed = (self.blocks(isa), self.kernel[0], self.steps(isa), vector)
        specs["weight"] = TensorSpec(packed, specs["weight"].dtype)
        (h, w, c), (oh, ow, co) = self.input_shape, self.output_shape
        return (
            TensorSpec((h, w * c), self.input_dtype),
            *specs.values(),
            TensorSpec((oh, ow * co), self.output_dtype),
        )

    @override
    def work(self, isa: Isa) -> Work:
        source, *parameters, result = self.arguments(isa)
        window = prod(self.kernel) * self.channels
        copied = prod(self.copied(isa) or (0,))
        return Work(
            macs=prod(self.output_shape) * window,
            elementwise=copied + prod(self.output_shape),
            input_bytes=source.nbytes,
            output_bytes=result.nbytes,
            parameter_bytes=sum(each.nbytes for each in parameters),
            workspace_bytes=copied * np.dtype(self.copy_dtype(isa)).itemsize,
        )

    @override
    def pack(self, isa: Isa, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        arrays = checked(self.key, self.parameters(), parameters)
        if self.selected:
            known = arrays["index"].min() >= 0 and arrays["index"].max() < self.input_shape[2]
            check(self.key, bool(known), f"index must name channels 0..{self.input_shape[2] - 1}")
        arrays["weight"] = self._packed_weight(isa, arrays["weight"])
        return tuple(arrays.values())

    def _packed_weight(self, isa: Isa, weight: NDArray[Any]) -> NDArray[Any]:
        """``[blocks][kernel height][steps][lanes][group]``, zero where channels or groups are not full."""
        blocks, kh, steps, group = self.blocks(isa), self.kernel[0], self.steps(isa), self.group(isa)
        co, run = self.output_channels, self.kernel[1] * self.channels
        padded = np.zeros((blocks * isa.lanes, kh, steps * group), weight.dtype)
        padded[:co, :, :run] = weight.reshape(co, kh, run)
        split = padded.reshape(blocks, isa.lanes, kh, steps, group).transpose(0, 2, 3, 1, 4)
        return np.ascontiguousarray(split).reshape(blocks, kh, steps, isa.lanes * group)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels.conv2d_loops import conv2d

        return conv2d(self, isa, tile)
