"""What else predicts a kernel's time from the same measurements: a linear model, and a look-up table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from cost_model.features import Sample, positions

Floats = NDArray[np.float64]


def linear(known: Sequence[Sample], unseen: Sequence[Sample]) -> Floats:
    """Seconds as a sum of operations, bytes and a call, each at a rate of its class and number type.

    Least squares of relative errors, no rate negative; what nothing was measured of has that of its class.
    """
    predicted = np.full(len(unseen), np.nan)
    for group in {_group(each) for each in unseen}:
        wanted = np.array([_group(each) == group for each in unseen])
        seen = [each for each in known if _group(each) == group] or [
            each for each in known if each.device_class == group[0]
        ]
        seconds = np.array([each.seconds for each in seen])
        design = _design(seen)
        norms = design.max(axis=0)
        rates, _ = nnls(design / norms / seconds[:, None], np.ones(len(seen)))
        predicted[wanted] = _design([each for each in unseen if _group(each) == group]) @ (rates / norms)
    return np.asarray(np.maximum(predicted, 1e-12))


def look_up(known: Sequence[Sample], unseen: Sequence[Sample]) -> Floats:
    """What the nearest kernel takes that was measured on the class, of the same operator if there is one."""
    predicted = np.empty(len(unseen))
    for index, each in enumerate(unseen):
        there = [other for other in known if other.device_class == each.device_class]
        rows = [other for other in there if other.operator == each.operator] or there
        distances = ((positions(rows) - positions([each])) ** 2).sum(axis=1)
        predicted[index] = rows[int(distances.argmin())].seconds
    return predicted


def _group(sample: Sample) -> tuple[str, bool]:
    return sample.device_class, sample.integer


def _design(samples: Sequence[Sample]) -> Floats:
    rows = [[each.work.macs, each.work.elementwise, each.moved_bytes, 1.0] for each in samples]
    return np.maximum(np.array(rows, dtype=np.float64), 1e-9)
