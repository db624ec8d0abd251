"""What kernels take at their places in a network: read there, or else from what they take alone.

Inside a network a kernel is called by the executor, and its weights have left the nearest caches, unless
those of the whole configuration fit in: the same layer of VGG-16 takes twice as long in a large configuration
as in a small one. So a reading counts by how near the weights of its configuration, in bytes, are to those of
the configuration in question, on a logarithmic scale; and what a kernel takes is modelled as
``scale * alone + call_s + byte_s * parameter bytes`` (none negative, least squares of relative errors),
fitted to the readings as they count there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import exp, log
from statistics import median
from typing import Final, Generic, TypeVar

import numpy as np
from scipy.optimize import nnls

from cost_model.context_reading import ContextReading

Name = TypeVar("Name")
Place = tuple[str, str]
"""A layer and the content key of a kernel in it, with its tile."""
FLOOR_S: Final = 2e-6
"""Errors of kernels that are faster count as though they took this: a network is the sum."""
WIDTH: Final = 0.3
"""Of the neighbourhood: a third more bytes make a reading count 0.6 times as much."""
FARTHEST: Final = 1e-6
"""What the farthest reading counts: something, where it is the only one."""
STEP: Final = 0.1
"""Of the logarithm of bytes: configurations that differ by less are looked up as one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One kernel at its place in a configuration with so many bytes of weights."""

    place: Place
    footprint_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Point:
    """A kernel that was timed alone and at its place."""

    alone_s: float
    parameter_bytes: int
    placed_s: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Placement:
    """From a kernel alone to the same kernel in a network, on the devices of one class."""

    scale: float = 1.0
    call_s: float = 0.0
    byte_s: float = 0.0

    @classmethod
    def fit(cls, points: Sequence[Point]) -> Placement:
        """Without any point a kernel takes what it takes alone."""
        if not points:
            return cls()
        placed = np.array([each.placed_s for each in points])
        weight = np.sqrt([each.weight for each in points]) / (placed + FLOOR_S)
        design = np.array([[each.alone_s, 1.0, each.parameter_bytes] for each in points])
        # Columns of very different size; the solver wants them alike.
        norms = np.maximum(design.max(axis=0), 1e-30)
        found, _ = nnls(design / norms * weight[:, None], placed * weight)
        return cls(*(found / norms).tolist())

    def placed_s(self, alone_s: float, parameter_bytes: int) -> float:
        """Seconds in a network."""
        return self.scale * alone_s + self.call_s + self.byte_s * parameter_bytes


@dataclass(frozen=True, slots=True)
class Placed:
    """What a network's kernels take at their places in configurations of one size."""

    place_s: Mapping[Place, float]
    """Read there."""
    kernel_s: Mapping[str, float]
    """Read in any layer."""
    surcharge_s: Mapping[str, float]
    """Kernel without its tile to what it takes beyond what it takes alone: whatever the tile, its weights
    are as cold."""
    placement: Placement
    factor: float = 1.0
    """Of the unit."""

    def seconds(self, place: Place, alone_s: float, parameter_bytes: int) -> float:
        """Of a kernel at its place: read there, in another layer or with another tile, or else modelled.

        ``alone_s`` is what it takes alone on the same unit.
        """
        _, kernel = place
        if (found := self.place_s.get(place, self.kernel_s.get(kernel))) is not None:
            return self.factor * found
        if (surcharge_s := self.surcharge_s.get(_without_tile(kernel))) is not None:
            return max(alone_s + self.factor * surcharge_s, alone_s / 2)
        return self.factor * self.placement.placed_s(alone_s / self.factor, parameter_bytes)


class InContext:
    """What a network's kernels take at their places on the devices of a class, from readings.

    ``alone_s`` and ``parameter_bytes`` tell of kernels by their content keys what they take alone and how
    many bytes of weights they have.
    """

    def __init__(
        self,
        readings: Iterable[Reading],
        rest_s: float,
        alone_s: Mapping[str, float],
        parameter_bytes: Mapping[str, int],
    ) -> None:
        self.rest_s = rest_s
        """What a run takes besides its kernels."""
        self._readings = [each for each in readings if each.place[1] in parameter_bytes]
        self._alone_s = alone_s
        self._bytes = parameter_bytes
        self._compared = [each for each in self._readings if each.place[1] in alone_s]
        self._placements: dict[int, Placement] = {}
        self._placed: dict[int, Placed] = {}
        self._factor = 1.0

    def times(self, factor: float) -> InContext:
        """The same on a unit that takes so many times as long."""
        other = copy(self)  # What was found out for some size holds for both.
        other._factor = factor * self._factor
        other.rest_s = factor * self.rest_s
        return other

    @property
    def usual_bytes(self) -> float:
        """Of weights, in the middle one of the configurations that were read."""
        return median(each.footprint_bytes for each in self._readings) if self._readings else 1.0

    def at(self, footprint_bytes: float) -> Placed:
        """In configurations with so many bytes of weights."""
        bucket = _bucket(footprint_bytes)
        if bucket not in self._placed:
            self._placed[bucket] = self._at(bucket)
        placed = self._placed[bucket]
        return placed if self._factor == 1.0 else replace(placed, factor=self._factor)

    def _at(self, bucket: int) -> Placed:
        places: _Means[Place] = _Means()
        kernels: _Means[str] = _Means()
        surcharges: _Means[str] = _Means()
        for each in self._readings:
            kernel, weight = each.place[1], _weight(each, bucket)
            seconds = self._moved_s(each, bucket)
            places.add(each.place, seconds, weight)
            kernels.add(kernel, seconds, weight)
            if kernel in self._alone_s:
                surcharges.add(_without_tile(kernel), seconds - self._alone_s[kernel], weight)
        return Placed(places.means(), kernels.means(), surcharges.means(), self._placement(bucket))

    def _moved_s(self, reading: Reading, bucket: int) -> float:
        """A reading as it would be in a configuration of that size: its weights would be warmer or colder."""
        there, here = self._placement(bucket), self._placement(_bucket(reading.footprint_bytes))
        more_s = (there.byte_s - here.byte_s) * self._bytes[reading.place[1]]
        return max(reading.seconds + more_s, reading.seconds / 2)

    def _placement(self, bucket: int) -> Placement:
        if bucket not in self._placements:
            self._placements[bucket] = Placement.fit(
                [
                    Point(
                        self._alone_s[each.place[1]],
                        self._bytes[each.place[1]],
                        each.seconds,
                        _weight(each, bucket),
                    )
                    for each in self._compared
                ]
            )
        return self._placements[bucket]


def footprints(readings: Iterable[ContextReading], parameter_bytes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of weights of each configuration that was read; a kernel that is not known has none."""
    kernels: dict[str, dict[tuple[str, int], str]] = {}
    for each in readings:
        kernels.setdefault(each.configuration, {})[each.layer, each.step] = each.kernel
    return {
        name: sum(parameter_bytes.get(each, 0) for each in places.values())
        for name, places in kernels.items()
    }


class _Means(Generic[Name]):
    """Weighted means under names."""

    def __init__(self) -> None:
        self._sums: dict[Name, tuple[float, float]] = {}

    def add(self, name: Name, value: float, weight: float) -> None:
        total, weights = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = total + weight * value, weights + weight

    def means(self) -> dict[Name, float]:
        return {name: total / weights for name, (total, weights) in self._sums.items()}


def _bucket(footprint_bytes: float) -> int:
    return round(log(max(footprint_bytes, 1.0)) / STEP)


def _weight(reading: Reading, bucket: int) -> float:
    distance = (log(max(reading.footprint_bytes, 1)) - bucket * STEP) / WIDTH
    return exp(-(distance**2) / 2) + FARTHEST


def _without_tile(kernel: str) -> str:
    return kernel.rpartition(" tile")[0] or kernel
