"""What paired answers say about a loss of accuracy: the score test of McNemar, turned into intervals. Pure.

Two networks answer the same samples, so only answers that turned right or wrong say anything. The interval
is the set of losses that the score test does not reject (Tango 1998, "Equivalence test and confidence
interval for the difference in proportions for the paired-sample design"; for a loss of 0 it is McNemar's
test). It holds where the normal approximation of the plain difference does not: few turned answers, or none.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from cost_model.errors import CostModelError

HALVINGS = 50
"""Of an interval of 2: far below one answer in any number of samples."""


def loss_interval_pp(gained: int, lost: int, count: int, confidence: float) -> tuple[float, float]:
    """Both ends of the two-sided interval of the loss, in percentage points.

    ``gained`` and ``lost`` answers of ``count`` turned right and wrong. Raises ``CostModelError`` for counts
    that are impossible.
    """
    tail = (1 - confidence) / 2
    return loss_quantile_pp(gained, lost, count, tail), loss_quantile_pp(gained, lost, count, 1 - tail)


def loss_quantile_pp(gained: int, lost: int, count: int, confidence: float) -> float:
    """One end: the true loss is below with that confidence; what was counted for 0.5."""
    if gained < 0 or lost < 0 or gained + lost > count or count <= 0:
        raise CostModelError(
            f"{gained} answers turned right and {lost} wrong of {count}: impossible; count the same samples"
        )
    if confidence == 0.5:
        return 100 * (lost - gained) / count
    wanted = NormalDist().inv_cdf(confidence)
    low, high = -1.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _score(gained, lost, count, middle) > -wanted:
            low = middle
        else:
            high = middle
    return 100 * (low + high) / 2


def _score(gained: int, lost: int, count: int, loss: float) -> float:
    """By how many standard deviations more was lost than a true ``loss``, a share, makes one expect."""
    b = (2 * count - lost + gained) * loss - gained - lost
    c = -gained * loss * (1 - loss)
    # The likeliest share of answers that turn right, if that were the true loss.
    share = (sqrt(max(b * b - 8 * count * c, 0.0)) - b) / (4 * count)
    variance = count * (2 * share + loss * (1 - loss))
    difference = lost - gained - count * loss
    if variance <= 0:
        return 0.0 if difference == 0 else (1e9 if difference > 0 else -1e9)
    return difference / sqrt(variance)
