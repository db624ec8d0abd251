"""The loops of a transposed convolution: those of one convolution after the other, over one padded copy."""

from __future__ import annotations

from functools import partial
from typing import Any

from network.isa import Isa
from network.kernels import emit
from network.kernels.conv2d_loops import Place, convolve
from network.kernels.conv_transpose import OWN, ConvTranspose, Phase
from network.kernels.emit import Buffer
from network.kernels.padded_copy import padded_copy


def conv_transpose(kernel: ConvTranspose, isa: Isa, tile: tuple[int, ...]) -> Any:
    """The PrimFunc ``(x, *own parameters of each phase, other parameters, y)``."""
    phases = [f"{name}{index}" for index in range(len(kernel.phases)) for name in kernel.own(isa)]
    names = ("x", *phases, *list(kernel.parameters())[2:], "y")
    return emit.function(names, kernel.arguments(isa), partial(_body, kernel, isa, tile))


def _body(
    kernel: ConvTranspose,
    isa: Isa,
    tile: tuple[int, ...],
    *,
    x: Buffer,
    y: Buffer,
    scale: Buffer = None,
    zero_point: Buffer = None,
    floor: Buffer = None,
    **packed: Buffer,
) -> None:
    source = padded_copy(kernel, isa, x, zero_point, None)
    above, left = kernel.margin
    for index, phase in enumerate(kernel.phases):
        place = Place(
            read=(above + phase.rows.first, left + phase.columns.first),
            start=(phase.rows.start, phase.columns.start),
            step=kernel.stride,
        )
        weight, bias, offset = (packed.get(f"{name}{index}") for name in OWN)
        parameters = (weight, bias, scale, offset, floor)
        convolve(phase.convolution, isa, _fitting(tile, phase), place, source, y, *parameters)


def _fitting(tile: tuple[int, ...], phase: Phase) -> tuple[int, ...]:
    rows, columns, *others = tile
    return min(rows, phase.rows.outputs), min(columns, phase.columns.outputs), *others
