"""The roofline of a device class: what its peak rates alone say of a kernel's time.

``seconds = max(operations / peak, bytes / bandwidth) + overhead`` (Williams, Waterman and Patterson,
"Roofline", CACM 2009), with a peak for each numeric type, fitted to measurements in logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from cost_model.features import Sample, trust

Floats = NDArray[np.float64]
PRIOR = 0.1
"""Weight of the first guess, in residuals: what no measurement says anything about stays there."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """Rates of one device class."""

    float_peak: float
    """Operations a second."""
    integer_peak: float
    bandwidth: float
    """Bytes a second."""
    overhead_s: float
    """Of a call that does nothing."""

    @classmethod
    def fit(cls, samples: Sequence[Sample]) -> Roofline:
        """Least squares of log(measured / roofline), outliers dampened, over one class's measured samples."""
        operations, moved, integer, seconds = _columns(samples)
        weights = np.sqrt(trust(samples))
        guess = np.log(_first_guess(operations, moved, integer, seconds))

        def residuals(rates: Floats) -> Floats:
            fitted = _roofline_s(np.exp(rates), operations, moved, integer)
            return np.concatenate([weights * np.log(seconds / fitted), PRIOR * (rates - guess)])

        return cls(*np.exp(least_squares(residuals, guess, loss="soft_l1", f_scale=0.3).x).tolist())

    def predict_s(self, samples: Sequence[Sample]) -> Floats:
        """Seconds, ``(samples,)``; measured or not."""
        operations, moved, integer, _ = _columns(samples)
        rates = np.array([self.float_peak, self.integer_peak, self.bandwidth, self.overhead_s])
        return _roofline_s(rates, operations, moved, integer)


def _columns(samples: Sequence[Sample]) -> tuple[Floats, Floats, NDArray[np.bool_], Floats]:
    return (
        np.array([each.operations for each in samples], dtype=np.float64),
        np.array([each.moved_bytes for each in samples], dtype=np.float64),
        np.array([each.integer for each in samples]),
        np.array([each.seconds or np.nan for each in samples]),
    )


def _roofline_s(rates: Floats, operations: Floats, moved: Floats, integer: NDArray[np.bool_]) -> Floats:
    peak = np.where(integer, rates[1], rates[0])
    return np.asarray(np.maximum(operations / peak, moved / rates[2]) + rates[3])


def _first_guess(operations: Floats, moved: Floats, integer: NDArray[np.bool_], seconds: Floats) -> Floats:
    """Rates that the best kernels reach; a numeric type without kernels has the other's peak."""
    rates = np.maximum(operations, 1.0) / seconds
    peaks = [np.quantile(rates[kind] if kind.any() else rates, 0.9) for kind in (~integer, integer)]
    return np.array([*peaks, np.quantile(np.maximum(moved, 1.0) / seconds, 0.9), seconds.min() / 2])
