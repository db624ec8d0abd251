"""What the latency model knows of a kernel before it is measured, as numbers with names.

``Sample`` is filled by the caller, who knows kernels; here it only becomes a row of a matrix. Sizes enter as
logarithms, since what matters of them is ratios, and a tile enters with the share of its work that is wasted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log, prod

import numpy as np
from numpy.typing import NDArray

from network.layers import Shape
from network.variants import Work

Floats = NDArray[np.float64]
TILE_SIZES = 3
"""A longer tile adds its further sizes to the last one as a product."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A kernel with its tile on a device class, and its median seconds where it was measured."""

    kernel: str
    """Content key, with the tile."""
    device_class: str
    operator: str
    work: Work
    integer: bool
    """Whether the multiply-accumulates are of integers."""
    tile: tuple[int, ...]
    input_shape: Shape
    """``(height, width, channels)``."""
    output_shape: Shape
    window: tuple[int, int]
    """Kernel height and width; ``(1, 1)`` where there is none."""
    stride: tuple[int, int]
    lanes: int
    """Floats in a vector register of the class."""
    group: int
    """Input channels that one integer dot product of the class takes."""
    seconds: float | None = None
    weight: float = 1.0
    """How much its seconds say, beside a measurement without marks."""

    @property
    def operations(self) -> int:
        """Arithmetic: a multiply-accumulate counts twice."""
        return 2 * self.work.macs + self.work.elementwise

    @property
    def moved_bytes(self) -> int:
        """Traffic, if nothing stayed in a cache; workspace is written and read."""
        work = self.work
        return work.input_bytes + work.output_bytes + work.parameter_bytes + 2 * work.workspace_bytes


def features(sample: Sample) -> Mapping[str, float]:
    """Column name to value, the same columns for every sample; the operator is not among them."""
    return {**_work(sample), **_shape(sample), **_tile(sample), "lanes": sample.lanes, "group": sample.group}


def matrix(samples: Sequence[Sample], operators: Sequence[str]) -> tuple[tuple[str, ...], Floats]:
    """Names and a float64 array ``(samples, columns)``, with one column for each operator.

    An operator that is not listed is zero in all of those.
    """
    rows = [
        {**features(each), **{f"operator={name}": float(each.operator == name) for name in operators}}
        for each in samples
    ]
    return tuple(rows[0]), np.array([list(row.values()) for row in rows], dtype=np.float64)


def trust(samples: Sequence[Sample]) -> Floats:
    """Weights ``(samples,)`` around 1: where all are marked alike, models fit as tightly as ever."""
    weights = np.array([each.weight for each in samples], dtype=np.float64)
    return np.asarray(weights / weights.mean())


def _work(sample: Sample) -> dict[str, float]:
    work = sample.work
    return {
        "integer": float(sample.integer),
        "log_macs": log(1 + work.macs),
        "log_elementwise": log(1 + work.elementwise),
        "log_input_bytes": log(1 + work.input_bytes),
        "log_output_bytes": log(1 + work.output_bytes),
        "log_parameter_bytes": log(1 + work.parameter_bytes),
        "log_workspace_bytes": log(1 + work.workspace_bytes),
        "log_intensity": log((1 + sample.operations) / (1 + sample.moved_bytes)),
    }


def _shape(sample: Sample) -> dict[str, float]:
    height, width, channels = sample.output_shape
    *_, read = sample.input_shape
    return {
        "height": height,
        "width": width,
        "log_channels": log(channels),
        "log_input_channels": log(read),
        "log_reduction": log(_reduction(sample)),
        "window": sample.window[0] * sample.window[1],
        "stride": sample.stride[0] * sample.stride[1],
        "channels_waste": _waste(channels, sample.lanes),
        "input_channels_waste": _waste(read, sample.group if sample.integer else 1),
    }


def _tile(sample: Sample) -> dict[str, float]:
    sizes = (*sample.tile, *[1] * TILE_SIZES)
    head, rest = sizes[: TILE_SIZES - 1], sizes[TILE_SIZES - 1 :]
    named = {f"tile_{index}": float(size) for index, size in enumerate((*head, prod(rest)))}
    return {
        **named,
        "tile_area": float(prod(sizes)),
        "tile_waste": _waste(sample.output_shape[1], sizes[0]),
        # Parameters that one tile of outputs reads again and again: do they fit the first cache?
        "log_tile_parameters": log(
            _reduction(sample) * sizes[1] * sample.lanes * (1 if sample.integer else 4)
        ),
    }


def _reduction(sample: Sample) -> int:
    """Inputs of one output."""
    return sample.window[0] * sample.window[1] * sample.input_shape[2]


def _waste(size: int, step: int) -> float:
    """Work done over work needed, where ``size`` is rounded up to whole steps."""
    return ceil(size / max(step, 1)) * max(step, 1) / max(size, 1)
