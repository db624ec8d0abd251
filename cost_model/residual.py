"""What a kernel's time is beyond the roofline, as a logarithm: boosted trees, or medians for want of data.

Both kinds answer the same two questions, so the latency model does not know which one it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from cost_model.features import Sample, matrix, trust

Floats = NDArray[np.float64]
ENOUGH_FOR_TREES = 20
ROUNDS = 400
PARAMETERS: Mapping[str, Any] = {
    # Timings have outliers; errors beyond 10 % count linearly.
    "objective": "reg:pseudohubererror",
    "huber_slope": 0.1,
    "tree_method": "exact",
    "max_depth": 4,
    "eta": 0.05,
    "min_child_weight": 2,
    "lambda": 1.0,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "base_score": 0.0,
    # One thread and a fixed seed: the same measurements give the same model.
    "nthread": 1,
    "seed": 0,
}


@dataclass(frozen=True, slots=True)
class Medians:
    """The median of each device class."""

    by_class: Mapping[str, float]

    @classmethod
    def fit(cls, samples: Sequence[Sample], logs: Floats) -> Medians:
        """From log(measured / roofline), one for each sample."""
        by_class: dict[str, list[tuple[float, float]]] = {}
        for log, each in zip(logs.tolist(), samples, strict=True):
            by_class.setdefault(each.device_class, []).append((log, each.weight))
        return cls({name: _weighted_median(by_class[name]) for name in sorted(by_class)})

    def predict(self, samples: Sequence[Sample], roofline_s: Floats) -> Floats:  # noqa: ARG002 - as Trees has it
        """Logarithms, ``(samples,)``."""
        return np.array([self.by_class[each.device_class] for each in samples])


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """XGBoost over the features of all classes together: what one class teaches serves the others."""

    booster: xgboost.Booster
    operators: tuple[str, ...]

    @classmethod
    def fit(cls, samples: Sequence[Sample], roofline_s: Floats, logs: Floats) -> Trees:
        """From log(measured / roofline), one for each sample."""
        operators = tuple(sorted({each.operator for each in samples}))
        data = _matrix(samples, roofline_s, operators, logs)
        return cls(xgboost.train(dict(PARAMETERS), data, num_boost_round=ROUNDS), operators)

    def predict(self, samples: Sequence[Sample], roofline_s: Floats) -> Floats:
        """Logarithms, ``(samples,)``."""
        return np.asarray(
            self.booster.predict(_matrix(samples, roofline_s, self.operators)), dtype=np.float64
        )


def _weighted_median(values: Sequence[tuple[float, float]]) -> float:
    """Of (value, weight): half of the weight is on either side; the plain median where all weigh the same."""
    if len({weight for _, weight in values}) == 1:
        return median(value for value, _ in values)
    ordered = sorted(values)
    reached = np.cumsum([weight for _, weight in ordered])
    return ordered[int(np.searchsorted(reached, reached[-1] / 2))][0]


def _matrix(
    samples: Sequence[Sample], roofline_s: Floats, operators: Sequence[str], logs: Floats | None = None
) -> xgboost.DMatrix:
    names, rows = matrix(samples, operators)
    rates = (
        np.log([[each.operations + 1, each.moved_bytes + 1] for each in samples])
        - np.log(roofline_s)[:, None]
    )
    table = np.column_stack([rows, np.log(roofline_s), rates])
    columns = [*names, "log_roofline_s", "log_rate", "log_bandwidth"]
    # XGBoost forbids [, ] and < in names; an operator's name is the caller's.
    return xgboost.DMatrix(table, label=logs, weight=trust(samples), feature_names=columns, nthread=1)
