"""Bounds that hold as often as promised: one-sided split-conformal quantiles, one for each class.

Errors are divided by how uncertain a prediction was (Papadopoulos and others, "Inductive confidence
machines for regression", 2002), and each class has its own quantile (Vovk's Mondrian taxonomy). The rank
is so high that the promise holds for the class at hand, not merely on average over classes, with a
probability of ``CONFIDENCE``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Floats = NDArray[np.float64]
COVERAGE = 0.9
"""What bounds promise: the share of kernels that do not exceed them."""
CONFIDENCE = 0.95
ENOUGH_FOR_A_CLASS = 30
"""Below that a class's largest error promises too little: all classes' errors together give its quantile."""


def quantiles(classes: Sequence[str], errors: Floats, spreads: Floats) -> dict[str, float]:
    """Class to the multiple of the spread that a prediction is raised by, at least 0.

    ``errors`` are log(measured / predicted) of kernels that the prediction had not seen.
    """
    scores = errors / spreads
    named = np.array(classes)
    by_class: Mapping[str, Floats] = {name: scores[named == name] for name in sorted(set(classes))}
    return {
        name: _quantile(own if len(own) >= ENOUGH_FOR_A_CLASS else scores) for name, own in by_class.items()
    }


def _quantile(scores: Floats) -> float:
    return max(0.0, float(np.sort(scores)[rank(len(scores)) - 1]))


def rank(count: int) -> int:
    """Which of so many sorted scores; the largest where there are too few for the promise."""
    ranks = np.arange(1, count + 1)
    # The k-th covers COVERAGE unless k or more of the scores lie below the true quantile's.
    holds = binom.cdf(ranks - 1, count, COVERAGE) >= CONFIDENCE
    return int(ranks[holds][0]) if holds.any() else count
