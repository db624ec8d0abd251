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
        "input_height": sample.input_shape[0],
        "input_width": sample.input_shape[1],
        "window_height": sample.window[0],
        "window_width": sample.window[1],
        "log_channels": log(channels),
        "log_input_channels": log(read),
        "log_reduction": log(_reduction(sample)),
        "window": sample.window[0] * sample.window[1],
        "stride": sample.stride[0] * sample.stride[1],
        "channels_waste": _waste(channels, sample.lanes),
        "input_channels_waste": _waste(read, sample.group if sample.integer else 1),
    }


def positions(samples: Sequence[Sample]) -> Floats:
    """Where kernels are beside each other, ``(samples, dimensions)``: near ones behave alike."""
    return np.array([_position(each) for each in samples], dtype=np.float64)


def _position(sample: Sample) -> list[float]:
    """Sizes as logarithms, halved where a doubling says less; steps where a vector is not filled."""
    work, (height, width, channels) = sample.work, sample.output_shape
    rows, columns, blocks = _register_tile(sample)
    return [
        log(1 + work.macs) / 2,
        log(1 + work.elementwise) / 2,
        log(1 + work.input_bytes) / 2,
        log(1 + work.output_bytes) / 2,
        log(1 + work.parameter_bytes) / 3,
        log(1 + work.workspace_bytes) / 6,
        1.5 * sample.integer,
        float(_element_bytes(work.output_bytes, sample.output_shape) < 2),
        log(channels),
        log(sample.input_shape[2]) / 2,
        log(1 + width) / 2,
        log(1 + height) / 2,
        log(prod(sample.window)) / 2,
        log(prod(sample.stride)) / 2,
        log(1 + rows) / 2,
        log(1 + columns) / 2,
        log(1 + blocks) / 1.5,
        2 * _waste(height, rows),
        2 * _waste(width, columns),
        _waste(channels, sample.lanes),
        log(_cycles(sample)) / 2,
    ]


def _tile(sample: Sample) -> dict[str, float]:
    rows, columns, blocks = _register_tile(sample)
    height, width, _ = sample.output_shape
    return {
        "tile_rows": rows,
        "tile_columns": columns,
        "tile_blocks": blocks,
        "tile_area": rows * columns * blocks,
        "rows_waste": _waste(height, rows),
        "columns_waste": _waste(width, columns),
        "log_tiles": log(_tiles(sample)),
        "log_steps": log(_steps(sample)),
        "log_cycles": log(_cycles(sample)),
        # Parameters that one tile of outputs reads again and again: do they fit the first cache?
        "log_tile_parameters": log(_reduction(sample) * blocks * sample.lanes * (1 if sample.integer else 4)),
        "input_element_bytes": _element_bytes(sample.work.input_bytes, sample.input_shape),
        "output_element_bytes": _element_bytes(sample.work.output_bytes, sample.output_shape),
        "workspace": float(sample.work.workspace_bytes > 0),
    }


def _register_tile(sample: Sample) -> tuple[int, int, int]:
    """Rows, columns and vectors of channels, with what a longer tile has besides."""
    rows, columns, *rest = (*sample.tile, *[1] * TILE_SIZES)
    return rows, columns, prod(rest)


def _tiles(sample: Sample) -> int:
    """Register tiles of the whole output, those at its edges included."""
    rows, columns, blocks = _register_tile(sample)
    height, width, channels = sample.output_shape
    vectors = ceil(channels / sample.lanes)
    return ceil(height / rows) * ceil(width / columns) * ceil(vectors / max(1, min(blocks, vectors)))


def _steps(sample: Sample) -> float:
    """Multiply-adds into one accumulator."""
    reduction = sample.work.macs / max(1, prod(sample.output_shape))
    return max(1.0, reduction / (sample.group if sample.integer else 1))


def _cycles(sample: Sample) -> float:
    """Of an ideal core with two multiply-adds a cycle, four cycles until a sum can be added to."""
    area = prod(_register_tile(sample))
    return _tiles(sample) * (_steps(sample) * max(area / 2, 4.0) + 12 + area)


def _element_bytes(size: int, shape: Shape) -> float:
    return size / max(1, prod(shape))


def _reduction(sample: Sample) -> int:
    """Inputs of one output."""
    return sample.window[0] * sample.window[1] * sample.input_shape[2]


def _waste(size: int, step: int) -> float:
    """Work done over work needed, where ``size`` is rounded up to whole steps."""
    return ceil(size / max(step, 1)) * max(step, 1) / max(size, 1)
