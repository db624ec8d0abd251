"""The roofline of a device class: what its peak rates alone say of a kernel's time.

``seconds = max(operations / peak, near bytes / cache bandwidth + far bytes / bandwidth) + overhead``
(Williams, Waterman and Patterson, "Roofline", CACM 2009), with a peak for each numeric type. The class's
fingerprint says what the rates are, measurements correct them; without one they are fitted to the
measurements alone, in logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from cost_model.features import Sample, trust
from cost_model.fingerprint import Fingerprint

Floats = NDArray[np.float64]
PRIOR = 0.1
"""Weight of the first guess, in residuals: what no measurement says anything about stays there."""
FINGERPRINT = 1.0
"""The same of a fingerprint: it was measured, too."""
NEAR_BYTES = 1 << 20
"""Of what one kernel moves: what is more comes from memory, for lack of a measured cache size."""
CACHE_SPEEDUP = 8.0
"""Of the caches over the memory, until measurements tell."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """Rates of one device class."""

    float_peak: float
    """Operations a second."""
    integer_peak: float
    bandwidth: float
    """Bytes a second from memory."""
    cache_bandwidth: float
    """Bytes a second of what stays near."""
    overhead_s: float
    """Of a call that does nothing."""

    @classmethod
    def fit(cls, samples: Sequence[Sample], fingerprint: Fingerprint | None = None) -> Roofline:
        """Least squares of log(measured / roofline), outliers dampened, over one class's measured samples.

        With a fingerprint there may be none. Raises ValueError where there is neither.
        """
        columns = _Columns.of(samples)
        prior = PRIOR if fingerprint is None else FINGERPRINT
        guess = np.log(_first_guess(columns) if fingerprint is None else _stated(fingerprint))
        if not samples:
            return cls(*np.exp(guess).tolist())
        weights = np.sqrt(trust(samples))

        def residuals(rates: Floats) -> Floats:
            fitted = _roofline_s(np.exp(rates), columns)
            return np.concatenate([weights * np.log(columns.seconds / fitted), prior * (rates - guess)])

        return cls(*np.exp(least_squares(residuals, guess, loss="soft_l1", f_scale=0.3).x).tolist())

    def predict_s(self, samples: Sequence[Sample]) -> Floats:
        """Seconds, ``(samples,)``; measured or not."""
        return _roofline_s(np.array(astuple(self)), _Columns.of(samples))


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    operations: Floats
    moved: Floats
    integer: NDArray[np.bool_]
    seconds: Floats

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> _Columns:
        return cls(
            np.array([each.operations for each in samples], dtype=np.float64),
            np.array([each.moved_bytes for each in samples], dtype=np.float64),
            np.array([each.integer for each in samples], dtype=np.bool_),
            np.array([each.seconds or np.nan for each in samples]),
        )


def _roofline_s(rates: Floats, columns: _Columns) -> Floats:
    float_peak, integer_peak, bandwidth, cache_bandwidth, overhead_s = rates
    peak = np.where(columns.integer, integer_peak, float_peak)
    near = np.minimum(columns.moved, NEAR_BYTES)
    bytes_s = near / cache_bandwidth + (columns.moved - near) / bandwidth
    return np.asarray(np.maximum(columns.operations / peak, bytes_s) + overhead_s)


def _stated(fingerprint: Fingerprint) -> Floats:
    bandwidth = 1e9 * fingerprint.bandwidth_gb_s
    peaks = (1e9 * fingerprint.float32_gflops, 1e9 * fingerprint.int8_gops)
    return np.array([*peaks, bandwidth, CACHE_SPEEDUP * bandwidth, fingerprint.call_s])


def _first_guess(columns: _Columns) -> Floats:
    """Rates that the best kernels reach; a numeric type without kernels has the other's peak."""
    if not len(columns.seconds):
        raise ValueError("neither measurements nor a fingerprint tell a class's rates; take its fingerprint")
    rates = np.maximum(columns.operations, 1.0) / columns.seconds
    kinds = (~columns.integer, columns.integer)
    peaks = [np.quantile(rates[kind] if kind.any() else rates, 0.9) for kind in kinds]
    moved = np.quantile(np.maximum(columns.moved, 1.0) / columns.seconds, 0.9)
    return np.array([*peaks, moved, moved, columns.seconds.min() / 2])
