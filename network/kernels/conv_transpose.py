"""Transposed convolution, as decoders enlarge with it. The loops are in ``conv_transpose_loops``.

Outputs whose rows (and columns) leave the same rest when divided by the stride see the same elements of the
window: each such phase is an ordinary convolution with stride 1 and a part of the weight.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from network.isa import Isa
from network.kernels.conv2d import Conv2d
from network.kernels.epilogue import check_clip, suffix
from network.kernels.parameters import Parameters, check, checked
from network.kernels.register_tiles import Tile
from network.layers import DType, Shape
from network.variants import Kernel, TensorSpec, Work

OWN = ("weight", "bias", "offset")
"""Parameters that differ from phase to phase."""


@dataclass(frozen=True, slots=True)
class Along:
    """A phase along one axis."""

    start: int
    """Its first output; the next is a stride further."""
    outputs: int
    taps: tuple[int, ...]
    """Rows or columns of the window, in the order of the inputs that they are multiplied with."""
    first: int
    """The input that its first output sees first; negative before the input."""

    @property
    def last(self) -> int:
        """The input that its last output sees last."""
        return self.first + self.outputs - 1 + len(self.taps) - 1


@dataclass(frozen=True, slots=True)
class Phase:
    """One of the convolutions: rows, columns, and what it computes of the input between its bounds."""

    rows: Along
    columns: Along
    convolution: Conv2d


@dataclass(frozen=True, slots=True)
class ConvTranspose(Kernel):
    """Each input adds ``x * w`` to the outputs of its window; then bias, scale, clamp or relu as ``Conv2d``.

    Windows are a stride apart; ``padding`` crops the outputs. An integer sum is of ``(x - zero_point) * w``:
    how many products an output has depends on where it is, so no bias could take out the zero point.

    Parameters: those of ``Conv2d``, with ``weight`` (co, kh, kw, ci).
    """

    input_shape: Shape
    output_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    """Outputs that are left out: top, left, bottom, right. Bottom and right may be below 0: more outputs."""
    input_dtype: DType
    output_dtype: DType = field()  # Without field(), the base's property would be taken for a default.
    relu: bool
    clip: float = 0.0
    """Upper bound behind a float32 relu; 0 is none."""

    def __post_init__(self) -> None:
        sizes = (*self.input_shape, self.output_channels, *self.kernel, *self.stride, *self.output_shape)
        check(
            self.key, min(sizes) > 0, "sizes and strides must be at least 1; correct the layer's attributes"
        )
        reached = all(k >= s for k, s in zip(self.kernel, self.stride, strict=True))
        check(self.key, reached, "every output must be reached; the kernel must be as large as the stride")
        cropped = min(self.padding[:2]) >= 0
        check(self.key, cropped, "padding at the top and left must not be negative; correct it")
        check_clip(self.key, self.relu, self.clip, self.output_dtype)

    @property
    @override
    def key(self) -> str:
        (h, w, c), (kh, kw), (sh, sw) = self.input_shape, self.kernel, self.stride
        padding = ",".join(map(str, self.padding))
        return (
            f"conv_transpose {h}x{w}x{c}>{self.output_channels} k{kh}x{kw} s{sh}x{sw} p{padding} "
            f"{self.input_dtype}>{self.output_dtype}{suffix(self.relu, self.clip)}"
        )

    @property
    @override
    def output_shape(self) -> Shape:
        (h, w, _), (kh, kw), (sh, sw) = self.input_shape, self.kernel, self.stride
        top, left, bottom, right = self.padding
        return (h - 1) * sh + kh - top - bottom, (w - 1) * sw + kw - left - right, self.output_channels

    @property
    def integer(self) -> bool:
        """Whether products are uint8 x int8."""
        return self.input_dtype == "uint8"

    @property
    def channels(self) -> int:
        """Input channels that are multiplied: all, which its copy calls none ``selected``."""
        return self.input_shape[2]

    @property
    def selected(self) -> int:
        """No channels are selected."""
        return 0

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Together they write every output once."""
        return tuple(self._phase(rows, columns) for rows, columns in product(self._along(0), self._along(1)))

    def _along(self, axis: int) -> list[Along]:
        stride, before, size = self.stride[axis], self.padding[axis], self.kernel[axis]
        found = []
        for start in range(min(stride, self.output_shape[axis])):
            smallest = (start + before) % stride
            taps = tuple(range(smallest, size, stride))[::-1]
            outputs = -(-(self.output_shape[axis] - start) // stride)
            found.append(Along(start, outputs, taps, (start + before - taps[0]) // stride))
        return found

    def _phase(self, rows: Along, columns: Along) -> Phase:
        taps = (len(rows.taps), len(columns.taps))
        shape = (rows.outputs + taps[0] - 1, columns.outputs + taps[1] - 1, self.channels)
        whole, none = (1, 1), (0, 0, 0, 0)
        dtypes = self.input_dtype, self.output_dtype
        each = Conv2d(shape, self.output_channels, taps, whole, none, *dtypes, relu=self.relu, clip=self.clip)
        return Phase(rows, columns, each)

    @property
    def margin(self) -> tuple[int, int]:
        """Rows above and columns to the left of the input that windows reach into."""
        phases = self.phases
        above, left = (min(getattr(p, axis).first for p in phases) for axis in ("rows", "columns"))
        return max(0, -above), max(0, -left)

    def copied(self, isa: Isa) -> tuple[int, int] | None:
        """Rows and elements a row of the padded copy that is read instead of the input, if one is needed."""
        (h, w, _), (above, left), phases = self.input_shape, self.margin, self.phases
        height = above + max(h, *(phase.rows.last + 1 for phase in phases))
        columns = left + max(w, *(phase.columns.last + 1 for phase in phases))
        ends = [self._row_end(isa, phase, left) for phase in phases]
        uneven = any(phase.convolution.copied(isa) is not None for phase in phases)
        if not uneven and (height, columns) == (h, w):
            return None
        return height, max(columns * self.channels, *ends)

    def _row_end(self, isa: Isa, phase: Phase, left: int) -> int:
        """Elements of a row of the copy up to the last that a phase reads."""
        convolution = phase.convolution
        last = left + phase.columns.first + phase.columns.outputs - 1
        return last * self.channels + convolution.steps(isa) * convolution.group(isa)

    def copy_dtype(self, isa: Isa) -> str:
        """Element type of the padded copy."""
        return isa.activation if self.integer else self.input_dtype

    @override
    def tiles(self, isa: Isa) -> tuple[Tile, ...]:
        """Of the phase with most to do; a smaller one cuts them."""
        largest = max(self.phases, key=lambda phase: phase.convolution.work(isa).macs)
        return largest.convolution.tiles(isa)

    def parameters(self) -> dict[str, TensorSpec]:
        """The parameters as they are before packing, in the order of the call."""
        specs = self.phases[0].convolution.parameters()
        shape = (self.output_channels, *self.kernel, self.channels)
        return {**specs, "weight": TensorSpec(shape, specs["weight"].dtype)}

    @property
    def _convolutions(self) -> list[Conv2d]:
        return [phase.convolution for phase in self.phases]

    def own(self, isa: Isa) -> tuple[str, ...]:
        """Parameters that every phase has for itself."""
        return tuple(name for name in self.phases[0].convolution.packed(isa) if name in OWN)

    @override
    def arguments(self, isa: Isa) -> tuple[TensorSpec, ...]:
        (h, w, c), (oh, ow, co) = self.input_shape, self.output_shape
        return (
            TensorSpec((h, w * c), self.input_dtype),
            *(each.packed(isa)[name] for each in self._convolutions for name in self.own(isa)),
            *list(self.parameters().values())[2:],
            TensorSpec((oh, ow * co), self.output_dtype),
        )

    @override
    def work(self, isa: Isa) -> Work:
        copied = prod(self.copied(isa) or (0,))
        return Work.of(
            self.arguments(isa),
            self.inputs,
            macs=sum(phase.convolution.work(isa).macs for phase in self.phases),
            elementwise=copied + prod(self.output_shape),
            workspace_bytes=copied * np.dtype(self.copy_dtype(isa)).itemsize,
        )

    @override
    def pack(self, isa: Isa, parameters: Parameters) -> tuple[NDArray[Any], ...]:
        """For each phase its weight and bias, from which the zero point is taken out; then the others."""
        arrays = checked(self.key, self.parameters(), parameters)
        packed: list[NDArray[Any]] = []
        for phase in self.phases:
            part = arrays["weight"][:, phase.rows.taps][:, :, phase.columns.taps]
            own = {**arrays, "weight": part, "bias": self._bias(part, arrays)}
            names = phase.convolution.packed(isa)
            arranged = dict(zip(names, phase.convolution.pack(isa, own), strict=True))
            packed += [arranged[name] for name in self.own(isa)]
        return (*packed, *list(arrays.values())[2:])

    def _bias(self, weight: NDArray[Any], arrays: Parameters) -> NDArray[np.float32]:
        if not self.integer:
            return arrays["bias"]
        sums = weight.sum(axis=(1, 2, 3), dtype=np.float64) * float(arrays["zero_point"][0])
        return (arrays["bias"] - arrays["scale"] * sums).astype(np.float32)

    @override
    def prim_func(self, isa: Isa, tile: tuple[int, ...]) -> Any:
        from network.kernels.conv_transpose_loops import conv_transpose

        return conv_transpose(self, isa, tile)
