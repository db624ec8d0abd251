"""Which outputs of a perforated layer are computed, and from which of those each of the others is filled.

An image falls into blocks of ``rows`` by ``cols`` pixels. Without a shift the first pixel of each block is
computed. With one every row is: every ``cols``-th pixel, ``shift`` further right from row to row of a block,
so that ``rows=2, cols=2, shift=1`` is a checkerboard. What is computed lies close together, as a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
NEIGHBOURS = 4
"""Computed pixels that each of the others is filled from."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Computed pixels of a block; ``(rows - 1) * shift`` stays below ``cols``."""

    rows: int
    cols: int
    shift: int = 0

    @property
    def share(self) -> Fraction:
        """Of the pixels, how many are computed."""
        return Fraction(1, self.cols if self.shift else self.rows * self.cols)

    @property
    def grid_rows(self) -> int:
        """Rows of the grid in a block."""
        return self.rows if self.shift else 1

    def grid(self, height: int, width: int) -> Pair:
        """Rows and columns of the grid of an image."""
        return height if self.shift else -(-height // self.rows), -(-width // self.cols)

    def sources(self, down: int, right: int) -> tuple[Pair, ...]:
        """For a pixel of a block: which grid points it is filled from, relative to the block's first one.

        One where it is computed itself; four otherwise, the nearest first or those around it. Beyond the grid
        its last row and column count again.
        """
        if not self.shift:
            return ((0, 0),) if down == right == 0 else tuple(product(range(2), range(2)))
        if right == down * self.shift:
            return ((down, 0),)
        points = list(product(range(down - 2, down + 3), range(-2, 3)))
        distances = {
            (row, column): (row - down) ** 2
            + (column * self.cols + row % self.rows * self.shift - right) ** 2
            for row, column in points
        }
        return tuple(sorted(points, key=lambda point: (distances[point], point))[:NEIGHBOURS])

    def known(self, grid: NDArray[Any], shape: Pair, down: int, right: int) -> tuple[NDArray[Any], ...]:
        """The sources ``(n, blocks, blocks a row, c)`` of that pixel of each block of such an image."""
        height, width = shape
        rows = np.arange(-(-(height - down) // self.rows)) * self.grid_rows
        columns = np.arange(-(-(width - right) // self.cols))
        last_row, last_column = grid.shape[1] - 1, grid.shape[2] - 1
        return tuple(
            grid[:, (rows + below).clip(0, last_row)][:, :, (columns + beside).clip(0, last_column)]
            for below, beside in self.sources(down, right)
        )
