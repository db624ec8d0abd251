"""What a kernel's time is beyond the roofline, as a logarithm: boosted trees on what neighbours say.

One forest is fitted for each fold of the kernels and all are averaged, so that every measured kernel also
has a prediction by a forest that never saw it: the errors that bounds are made of cost no further fit. Too
few measurements for trees leave the neighbours alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from cost_model.features import Sample, matrix, trust
from cost_model.held_out import draw
from cost_model.neighbours import Neighbours, Opinion

Floats = NDArray[np.float64]
ENOUGH_FOR_TREES = 40
FOLDS = 5
ROUNDS = 300
PARAMETERS: Mapping[str, Any] = {
    # Timings have outliers; errors beyond 10 % count linearly.
    "objective": "reg:pseudohubererror",
    "huber_slope": 0.1,
    "tree_method": "hist",
    "max_depth": 6,
    "eta": 0.1,
    "min_child_weight": 2,
    "lambda": 1.0,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
    "base_score": 0.0,
    # One thread and a fixed seed: the same measurements give the same model.
    "nthread": 1,
    "seed": 0,
}


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """XGBoost over the features of all classes together: what one class teaches serves the others."""

    boosters: tuple[xgboost.Booster, ...]
    """One for each fold that it never saw; none where neighbours speak alone."""
    operators: tuple[str, ...]
    neighbours: Neighbours

    @classmethod
    def fit(cls, samples: Sequence[Sample], roofline_s: Floats, logs: Floats) -> tuple[Residual, Opinion]:
        """From log(measured / roofline), one for each sample.

        Beside it what it says of every sample without having seen that sample's own measurement.
        """
        operators = tuple(sorted({each.operator for each in samples}))
        neighbours = Neighbours.fit(samples, logs)
        opinion = neighbours.ask_others(samples)
        if len(samples) < ENOUGH_FOR_TREES:
            return cls((), operators, neighbours), opinion
        columns, table = _table(samples, roofline_s, operators, opinion)
        folds, rest = np.array([_fold(each) for each in samples]), logs - opinion.log
        boosters, unseen = [], opinion.log.copy()
        for fold in range(FOLDS):
            seen = folds != fold
            kept = [each for each, wanted in zip(samples, seen, strict=True) if wanted]
            data = _data(columns, table[seen], rest[seen], trust(kept))
            boosters.append(xgboost.train(dict(PARAMETERS), data, num_boost_round=ROUNDS))
            if not seen.all():
                unseen[~seen] += boosters[-1].predict(_data(columns, table[~seen]))
        return cls(tuple(boosters), operators, neighbours), Opinion(unseen, opinion.spread)

    def predict(self, samples: Sequence[Sample], roofline_s: Floats) -> Opinion:
        """Logarithms, ``(samples,)``, and how far they may be wrong."""
        opinion = self.neighbours.ask(samples)
        if not self.boosters:
            return opinion
        data = _data(*_table(samples, roofline_s, self.operators, opinion))
        learnt = np.mean([each.predict(data) for each in self.boosters], axis=0, dtype=np.float64)
        return Opinion(opinion.log + learnt, opinion.spread)


def _fold(sample: Sample) -> int:
    """The same on every class."""
    return int(draw(sample.kernel, 0, "fold") * FOLDS)


def _table(
    samples: Sequence[Sample], roofline_s: Floats, operators: Sequence[str], opinion: Opinion
) -> tuple[list[str], Floats]:
    """Names and values ``(samples, columns)``."""
    names, rows = matrix(samples, operators)
    rates = np.log([[each.operations + 1, each.moved_bytes + 1] for each in samples])
    rates = rates - np.log(roofline_s)[:, None]
    columns = [*names, "log_roofline_s", "log_rate", "log_bandwidth", "neighbours", "spread"]
    return columns, np.column_stack([rows, np.log(roofline_s), rates, opinion.log, opinion.spread])


def _data(
    columns: Sequence[str], table: Floats, logs: Floats | None = None, weights: Floats | None = None
) -> xgboost.DMatrix:
    # XGBoost forbids [, ] and < in names; an operator's name is the caller's.
    return xgboost.DMatrix(table, label=logs, weight=weights, feature_names=list(columns), nthread=1)
