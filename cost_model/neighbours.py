"""What similar kernels took beyond the roofline: a Gaussian process over measured kernels of all classes.

Kernels are near each other where their sizes, shapes and tiles are; the same kernel on another class, and
another tile of it, are the nearest (Rasmussen and Williams, "Gaussian Processes for Machine Learning",
2006; several classes as in Bonilla, Chai and Williams, "Multi-task Gaussian process prediction", 2007).
What it says of a measured kernel is said without that kernel's own measurement (their equation 5.12), so
that trees can learn from it how far to trust it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from cost_model.features import Sample, positions, trust
from cost_model.held_out import draw

Floats = NDArray[np.float64]
LENGTH = 6.0
"""Distance at which kernels have little to say about each other, in units of ``positions``."""
AMPLITUDE = 0.4
"""How far kernels are from their class's mean, as a logarithm."""
COMMON = 0.5
"""Variance that all kernels share, beside the amplitude's."""
OTHER_CLASS = 0.95
"""Correlation of a kernel with itself on another class."""
OTHER_OPERATOR = 0.3
NOISE = 0.04
"""Of a measurement without marks, as a logarithm."""
LEAST_WEIGHT = 0.02
MOST = 2500
"""Samples: their cube is what a fit costs. Of more a part is drawn; trees learn from all."""


@dataclass(frozen=True, slots=True, eq=False)
class Opinion:
    """What neighbours say of some kernels."""

    log: Floats
    """Expected log(measured / roofline), ``(samples,)``."""
    spread: Floats
    """Its standard deviation: small where much alike was measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Fitted to log(measured / roofline) of measured kernels."""

    samples: tuple[Sample, ...]
    logs: Floats
    means: Mapping[str, float]
    """Of each class."""
    inverse: Floats
    """Of the covariance of the samples' logs."""

    @classmethod
    def fit(cls, samples: Sequence[Sample], logs: Floats) -> Neighbours:
        """From log(measured / roofline), one for each sample."""
        part = _part(samples)
        kept, values = tuple(samples[index] for index in part), logs[part]
        means = _means(kept, values)
        covariance = _covariance(kept, kept)
        covariance[np.diag_indices_from(covariance)] += NOISE**2 / _weights(kept)
        inverse = cho_solve(cho_factor(covariance, lower=True), np.eye(len(kept)))
        return cls(kept, values, means, inverse)

    def ask(self, samples: Sequence[Sample]) -> Opinion:
        """Of kernels, none of which is asked about itself where it was fitted to it: see ``ask_others``."""
        across = _covariance(samples, self.samples)
        weights = across @ self.inverse
        variance = AMPLITUDE**2 * (1 + COMMON) - np.einsum("ij,ij->i", weights, across)
        return Opinion(
            self._mean(samples) + weights @ self._centred, np.sqrt(np.maximum(variance, NOISE**2 / 4))
        )

    def ask_others(self, samples: Sequence[Sample]) -> Opinion:
        """Of the samples that it was fitted to, each as though it had not been measured."""
        opinion = self.ask(samples)
        own = {_key(each): index for index, each in enumerate(self.samples)}
        found = np.array([own.get(_key(each), -1) for each in samples])
        known, diagonal = found >= 0, np.diag(self.inverse)
        without = self.logs - (self.inverse @ self._centred) / diagonal
        log, spread = opinion.log.copy(), opinion.spread.copy()
        log[known], spread[known] = without[found[known]], 1 / np.sqrt(diagonal[found[known]])
        return Opinion(log, spread)

    @property
    def _centred(self) -> Floats:
        return np.asarray(self.logs - self._mean(self.samples))

    def _mean(self, samples: Sequence[Sample]) -> Floats:
        """A class that nothing was measured on has the mean of the others."""
        usual = float(np.mean(list(self.means.values())))
        return np.array([self.means.get(each.device_class, usual) for each in samples])


def _part(samples: Sequence[Sample]) -> list[int]:
    """All, or as many as are affordable, by a hash of their keys, in their order."""
    if len(samples) <= MOST:
        return list(range(len(samples)))
    order = sorted(
        range(len(samples)), key=lambda index: draw("\t".join(_key(samples[index])), 0, "neighbour")
    )
    return sorted(order[:MOST])


def _key(sample: Sample) -> tuple[str, str]:
    return sample.device_class, sample.kernel


def _weights(samples: Sequence[Sample]) -> Floats:
    return np.asarray(np.maximum(trust(samples), LEAST_WEIGHT))


def _means(samples: Sequence[Sample], logs: Floats) -> dict[str, float]:
    classes = np.array([each.device_class for each in samples])
    weights = _weights(samples)
    return {
        str(name): float(np.average(logs[classes == name], weights=weights[classes == name]))
        for name in np.unique(classes)
    }


def _covariance(rows: Sequence[Sample], columns: Sequence[Sample]) -> Floats:
    """Matern's with 3/2, ``(rows, columns)``."""
    x, y = positions(rows), positions(columns)
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
    distance = np.sqrt(3 * np.maximum(squares, 0)) / LENGTH
    alike = (1 + distance) * np.exp(-distance)
    alike *= _agreement([each.operator for each in rows], [each.operator for each in columns], OTHER_OPERATOR)
    alike *= _agreement(
        [each.device_class for each in rows], [each.device_class for each in columns], OTHER_CLASS
    )
    return np.asarray(AMPLITUDE**2 * (alike + COMMON))


def _agreement(rows: Sequence[str], columns: Sequence[str], otherwise: float) -> Floats:
    return np.where(np.array(rows)[:, None] == np.array(columns)[None], 1.0, otherwise)
