"""What kernels take at their places in a network: read there, or else from what they take alone.

Inside a network a kernel is called by the executor, and its weights have left the nearest caches: what it
takes there is modelled as ``scale * alone + call_s + byte_s * parameter bytes`` (none negative, least squares
of relative errors), fitted to the kernels of the class that have been read at their places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.optimize import nnls

Place = tuple[str, str]
"""A layer and the content key of a kernel in it, with its tile."""
FLOOR_S = 2e-6
"""Errors of kernels that are faster count as though they took this: a network is the sum."""


@dataclass(frozen=True, slots=True)
class Point:
    """A kernel that was timed alone and at its place."""

    alone_s: float
    parameter_bytes: int
    placed_s: float


@dataclass(frozen=True, slots=True)
class Placement:
    """From a kernel alone to the same kernel in a network, on the devices of one class."""

    scale: float = 1.0
    call_s: float = 0.0
    byte_s: float = 0.0

    @classmethod
    def fit(cls, points: Iterable[Point]) -> Placement:
        """Without any point a kernel takes what it takes alone."""
        every = list(points)
        if not every:
            return cls()
        placed = np.array([each.placed_s for each in every])
        weight = 1 / (placed + FLOOR_S)
        design = np.array([[each.alone_s, 1.0, each.parameter_bytes] for each in every])
        # Columns of very different size; the solver wants them alike.
        norms = np.maximum(np.abs(design).max(axis=0), 1e-30)
        found, _ = nnls(design / norms * weight[:, None], placed * weight)
        return cls(*(found / norms).tolist())

    def placed_s(self, alone_s: float, parameter_bytes: int) -> float:
        """Seconds in a network."""
        return self.scale * alone_s + self.call_s + self.byte_s * parameter_bytes


@dataclass(frozen=True, slots=True)
class InContext:
    """What a network's kernels take at their places on one device."""

    placed_s: Mapping[Place, float]
    """Read there."""
    elsewhere_s: Mapping[str, float]
    """Kernel to the median over the layers in which it was read."""
    surcharge_s: Mapping[str, float]
    """Kernel without its tile to what it takes beyond what it takes alone: whatever the tile, its weights
    are as cold."""
    placement: Placement
    rest_s: float
    """What a run takes besides its kernels."""

    @classmethod
    def of(
        cls,
        placed_s: Mapping[Place, float],
        rest_s: float,
        alone_s: Mapping[str, float],
        parameter_bytes: Mapping[str, int],
    ) -> InContext:
        """From readings, and what is known of kernels alone."""
        layers: dict[str, list[float]] = {}
        for (_, kernel), seconds in placed_s.items():
            layers.setdefault(kernel, []).append(seconds)
        elsewhere_s = {kernel: median(several) for kernel, several in layers.items()}
        both = {
            kernel: each for kernel, each in elsewhere_s.items() if kernel in alone_s.keys() & parameter_bytes
        }
        points = (Point(alone_s[kernel], parameter_bytes[kernel], each) for kernel, each in both.items())
        surcharges: dict[str, list[float]] = {}
        for kernel, each in both.items():
            surcharges.setdefault(_without_tile(kernel), []).append(each - alone_s[kernel])
        surcharge_s = {kernel: median(several) for kernel, several in surcharges.items()}
        return cls(placed_s, elsewhere_s, surcharge_s, Placement.fit(points), rest_s)

    def times(self, factor: float) -> InContext:
        """The same on a unit that takes so many times as long."""
        return InContext(
            {place: factor * each for place, each in self.placed_s.items()},
            {kernel: factor * each for kernel, each in self.elsewhere_s.items()},
            {kernel: factor * each for kernel, each in self.surcharge_s.items()},
            Placement(self.placement.scale, factor * self.placement.call_s, factor * self.placement.byte_s),
            factor * self.rest_s,
        )

    def seconds(self, place: Place, alone_s: float, parameter_bytes: int) -> float:
        """Of a kernel at its place: read there, in another layer or with another tile, or else modelled."""
        _, kernel = place
        if (found := self.placed_s.get(place, self.elsewhere_s.get(kernel))) is not None:
            return found
        if (surcharge_s := self.surcharge_s.get(_without_tile(kernel))) is not None:
            return max(alone_s + surcharge_s, alone_s / 2)
        return self.placement.placed_s(alone_s, parameter_bytes)


def _without_tile(kernel: str) -> str:
    return kernel.rpartition(" tile")[0] or kernel
