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
from network.kernels.epilogue import check_clip, floors, suffix
from network.kernels.parameters import Parameters, check, checked
from network.kernels.register_tiles import Reduction, Tile, promising
from network.kernels.storage import LARGEST, PARAMETER, Storage, bits, pack_nibbles, words
from network.layers import DType, Shape
from network.variants import Kernel, TensorSpec, Work


@dataclass(frozen=True, slots=True)
class Conv2d(Kernel):
    """``sum(x * w)`` over a window, then bias, scale, clamp or relu; dense is the window of the whole input.

    float32 to float32 is ``sum + bias``. With uint8 on either side it is ``sum * scale + bias`` per output
    channel, rounded half to even and clamped to 0..255 where the output is uint8; that output's zero point
    is part of the bias, and relu is the clamp at ``floor`` instead of 0. ``selected`` input channels are
    gathered by ``index``; 0 takes all. With ``groups`` both inputs and outputs fall into as many runs of
    channels, and an output sees its own run alone; ``Depthwise`` is for groups of one input and one output.

    Parameters: ``weight`` (co, kh, kw, ci / groups or selected) float32 or as ``storage`` says, for uint8
    input int8 from -127 to 127 (so that two products add up in 16 bits); ``bias`` (co,) float32; ``scale``
    (co,) float32 unless float32 to float32 without ``storage``; ``zero_point`` (1,) uint8 for uint8 input,
    what padding holds; ``index`` (selected,) int32; ``floor`` (co,) float32 for relu to uint8, what stands
    for zero there.
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
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    clip: float = 0.0
    """Upper bound behind a float32 relu; 0 is none."""
    shear: tuple[int, int] = (0, 1)
    """Windows of output row ``y`` start ``shear[0] * (y % shear[1])`` columns further right."""
    storage: Storage = ""
    """Of float weights."""

    def __post_init__(self) -> None:
        sizes = (*self.input_shape, self.output_channels, *self.kernel, *self.stride, *self.dilation)
        check(
            self.key, min(sizes) > 0, "sizes and strides must be at least 1; correct the layer's attributes"
        )
        fits = min(self.output_shape) > 0 and min(self.padding) >= 0 and self._sheared_windows_fit
        check(self.key, fits, "the window must fit into the padded input; correct kernel or padding")
        in_range = 0 <= self.selected <= self.input_shape[2]
        check(self.key, in_range, f"selected must be 0..{self.input_shape[2]}, the input's channels")
        check_clip(self.key, self.relu, self.clip, self.output_dtype)
        self._check_groups()

    @property
    def _sheared_windows_fit(self) -> bool:
        (_, left, _, right), last = self.padding, (self.output_shape[1] - 1) * self.stride[1]
        return last + self.slant + self.extent[1] <= self.input_shape[1] + left + right

    def _check_groups(self) -> None:
        divides = self.groups > 0 and not (self.channels % self.groups or self.output_channels % self.groups)
        check(self.key, divides, "groups must divide the channels of input and output; correct groups")
        stored = not (self.storage and self.integer)
        check(self.key, stored, "storage is for float32 input; leave it out for uint8")
        whole = self.groups == 1 or not self.selected
        check(self.key, whole, "groups take all input channels; leave out selected")

    @property
    @override
    def key(self) -> str:
        (h, w, c), (kh, kw), (sh, sw) = self.input_shape, self.kernel, self.stride
        padding = ",".join(map(str, self.padding))
        selected = f" of{self.selected}" if self.selected else ""
        dilation = "" if self.dilation == (1, 1) else f" d{self.dilation[0]}x{self.dilation[1]}"
        groups = "" if self.groups == 1 else f" g{self.groups}"
        shear = f" shear{self.shear[0]}/{self.shear[1]}" if self.shear[0] else ""
        storage = f" w{self.storage}" if self.storage else ""
        changes = f"{suffix(self.relu, self.clip)}{selected}{dilation}{groups}{shear}{storage}"
        return (
            f"conv2d {h}x{w}x{c}>{self.output_channels} k{kh}x{kw} s{sh}x{sw} p{padding} "
            f"{self.input_dtype}>{self.output_dtype}{changes}"
        )

    @property
    @override
    def output_shape(self) -> Shape:
        (h, w, _), (kh, kw), (sh, sw) = self.input_shape, self.extent, self.stride
        top, left, bottom, right = self.padding
        return (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1, self.output_channels

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns from a window's first element to its last."""
        (kh, kw), (down, right) = self.kernel, self.dilation
        return (kh - 1) * down + 1, (kw - 1) * right + 1

    @property
    def slant(self) -> int:
        """Columns that windows start further right at most."""
        return self.shear[0] * (self.shear[1] - 1)

    @property
    def integer(self) -> bool:
        """Whether products are uint8 x int8."""
        return self.input_dtype == "uint8"

    @property
    def scaled(self) -> bool:
        """Whether sums are scaled before the bias."""
        return self.integer or self.output_dtype == "uint8" or bool(self.storage)

    @property
    def channels(self) -> int:
        """Input channels that are multiplied."""
        return self.selected or self.input_shape[2]

    def group(self, isa: Isa) -> int:
        """Products that one step adds to an accumulator."""
        return isa.group if self.integer else 1

    @property
    def runs(self) -> tuple[int, int]:
        """Runs of neighbours in memory that a window's row consists of, and the elements of each."""
        if self.groups == 1 and self.dilation[1] == 1:
            return 1, self.kernel[1] * self.channels
        return self.kernel[1], self.channels // self.groups

    def steps(self, isa: Isa) -> int:
        """Steps along a run, each a group of products."""
        return -(-self.runs[1] // self.group(isa))

    def blocks(self, isa: Isa) -> int:
        """Vectors of output channels, of one of ``groups``; the last may be partial."""
        return -(-self.output_channels // self.groups // isa.lanes)

    @property
    def margin(self) -> tuple[int, int]:
        """Rows of padding above the input, and columns to its left."""
        return self.padding[0], self.padding[1]

    def copied(self, isa: Isa) -> tuple[int, int] | None:
        """Rows and elements a row of the padded copy that is read instead of the input, if one is needed.

        It pads, gathers, widens, or gives the last group of a row something to read beyond its end.
        """
        runs, run = self.runs
        uneven = self.steps(isa) * self.group(isa) != run
        widened = self.integer and isa.activation != "uint8"
        if not (any(self.padding) or self.selected or uneven or widened):
            return None
        rows, columns, _ = self.output_shape
        height = (rows - 1) * self.stride[0] + self.extent[0]
        last_window = ((columns - 1) * self.stride[1] + self.slant) * self.channels
        last_run = (runs - 1) * self.dilation[1] * self.channels + (self.groups - 1) * run
        return height, last_window + last_run + self.steps(isa) * self.group(isa)

    def copy_dtype(self, isa: Isa) -> str:
        """Element type of the padded copy."""
        return isa.activation if self.integer else self.input_dtype

    @override
    def tiles(self, isa: Isa) -> tuple[Tile, ...]:
        rows, columns, _ = self.output_shape
        nest = Reduction(
            rows=rows,
            columns=columns,
            blocks=self.blocks(isa),
            steps=self.kernel[0] * self.runs[0] * self.steps(isa),
            vector_bytes=isa.lanes * (isa.group if self.integer else bits(self.storage) / 8),
            scratch=isa.dot_scratch if self.integer else isa.float_scratch + bool(self.storage),
        )
        return promising(isa, nest)

    def parameters(self) -> dict[str, TensorSpec]:
        """The parameters as they are before packing, in the order of the call."""
        co, weight = self.output_channels, (*self.kernel, self.channels // self.groups)
        specs = {
            "weight": TensorSpec(
                (co, *weight), "int8" if self.integer else PARAMETER.get(self.storage, "float32")
            ),
            "bias": TensorSpec((co,), "float32"),
        }
        if self.scaled:
            specs["scale"] = TensorSpec((co,), "float32")
        if self.integer:
            specs["zero_point"] = TensorSpec((1,), "uint8")
        if self.selected:
            specs["index"] = TensorSpec((self.selected,), "int32", fill="range")
        return specs | floors(co, self.relu, self.output_dtype)

    def packed(self, isa: Isa) -> dict[str, TensorSpec]:
        """The parameters as they are after packing, in the order of the call."""
        specs = self.parameters()
        vector = isa.lanes * self.group(isa)
        lines = self.kernel[0] * self.runs[0]
        weight = (self.groups * self.blocks(isa), lines, self.steps(isa), vector)
        specs["weight"] = TensorSpec(weight, specs["weight"].dtype)
        if self.storage == "int4":
            held = words(lines * self.steps(isa))
            specs["weight"] = TensorSpec((weight[0], held, isa.lanes), "int32")
        if self.copy_dtype(isa) == "int8":
            specs["offset"] = TensorSpec((self.groups * self.blocks(isa) * isa.lanes,), "int32")
        return specs

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
        window = prod(self.kernel) * self.channels // self.groups
        copied = prod(self.copied(isa) or (0,))
        return Work.of(
            self.arguments(isa),
            self.inputs,
            macs=prod(self.output_shape) * window,
            elementwise=copied + prod(self.output_shape),
            workspace_bytes=copied * np.dtype(self.copy_dtype(isa)).itemsize,
        )

    @override
    def pack(self, isa: Isa, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        arrays = checked(self.key, self.parameters(), parameters)
        if self.selected:
            known = arrays["index"].min() >= 0 and arrays["index"].max() < self.input_shape[2]
            check(self.key, bool(known), f"index must name channels 0..{self.input_shape[2] - 1}")
        weight = arrays["weight"]
        if self.integer:
            check(self.key, bool((weight > -128).all()), "int8 weights must lie in -127..127; clip them")
        if largest := LARGEST.get(self.storage):
            inside = bool((np.abs(weight.astype(np.int16)) <= largest).all())
            check(self.key, inside, f"stored weights must lie in -{largest}..{largest}; clip them")
        packed = self._packed_weight(isa, weight)
        arrays["weight"] = pack_nibbles(packed) if self.storage == "int4" else packed
        if self.copy_dtype(isa) == "int8":
            arrays["offset"] = self._offset(isa, weight)
        return tuple(arrays.values())

    def _offset(self, isa: Isa, weight: NDArray[Any]) -> NDArray[np.int32]:
        """What was taken off the activations times their weights: padding and all, so the same everywhere."""
        sums = 128 * weight.sum(axis=(1, 2, 3), dtype=np.int32).reshape(self.groups, -1)
        offset = np.zeros((self.groups, self.blocks(isa) * isa.lanes), np.int32)
        offset[:, : sums.shape[1]] = sums
        return offset.reshape(-1)

    def _packed_weight(self, isa: Isa, weight: NDArray[Any]) -> NDArray[Any]:
        """``[groups * blocks][runs][steps][group / adjacent][lanes][adjacent]``, zero where not full."""
        blocks, steps, group = self.blocks(isa), self.steps(isa), self.group(isa)
        adjacent = isa.adjacent if self.integer and isa.adjacent else group
        lines, run, co = self.kernel[0] * self.runs[0], self.runs[1], self.output_channels // self.groups
        padded = np.zeros((self.groups, blocks * isa.lanes, lines, steps * group), weight.dtype)
        padded[:, :co, :, :run] = weight.reshape(self.groups, co, lines, run)
        split = padded.reshape(-1, isa.lanes, lines, steps, group // adjacent, adjacent)
        ordered = np.ascontiguousarray(split.transpose(0, 2, 3, 4, 1, 5))
        return ordered.reshape(-1, lines, steps, isa.lanes * group)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels.conv2d_loops import conv2d

        return conv2d(self, isa, tile)
