"""Error bars of predicted losses: conformal, from configurations that the model did not see. Pure.

Each joint evaluation is predicted by a model that was fitted without it (cross-conformal, Vovk 2015). How far
off that was, in units of what sampling noise and a usual model error make one expect, is its score; a bar
reaches as many units as the scores that a share of ``confidence`` of all configurations stays below. It
promises to cover what an evaluation on as many samples would count, whatever the distribution, as far as the
configurations to come are like those that were evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist
from typing import TypeVar

from cost_model.loss_curve import CHANGED_PER_ROOT_NAT, Point

FOLDS = 10
USUAL_ERROR = 0.15
"""Relative, of a predicted loss; the scores correct it."""
Tried = TypeVar("Tried")
Unseen = Callable[[Sequence[Tried], Sequence[Tried]], Sequence[tuple[Point, float]]]
"""What is left out and what is not, to each point left out with its loss as predicted from the rest."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted loss with its bar, in percentage points."""

    loss_pp: float
    low_pp: float
    high_pp: float

    def __str__(self) -> str:
        return f"{self.loss_pp:+.2f} ±{self.high_pp - self.loss_pp:.2f} pp"


@dataclass(frozen=True, slots=True)
class LossBars:
    """Scores of the joint evaluations there were, in rising order, and how many samples each had."""

    scores: tuple[float, ...] = ()
    count: int = 2000

    @classmethod
    def fit(cls, joint: Sequence[Tried], unseen: Unseen[Tried]) -> LossBars:
        """Learn from joint evaluations, each predicted by what did not see it."""
        scores: list[float] = []
        count = 0
        for fold in range(min(FOLDS, len(joint))):
            others = [each for index, each in enumerate(joint) if index % FOLDS != fold]
            for point, predicted_pp in unseen(joint[fold::FOLDS], others):
                scores.append(_score(point, predicted_pp))
                count = point.count
        return cls(tuple(sorted(scores)), count) if scores else cls()

    def estimate(self, loss_pp: float, divergence: float, confidence: float) -> Estimate:
        """The bar around a predicted loss at a summed divergence."""
        if divergence <= 0:
            return Estimate(loss_pp, loss_pp, loss_pp)  # It is the exact network.
        reach = self.reach(confidence) * _usual_pp(loss_pp, divergence, self.count)
        return Estimate(loss_pp, loss_pp - reach, loss_pp + reach)

    def reach(self, confidence: float) -> float:
        """How many units a bar has to each side.

        Where there are too few scores to promise anything, a normal law's, or the largest score if that is
        more.
        """
        rank = ceil((len(self.scores) + 1) * confidence)
        if rank <= len(self.scores):
            return self.scores[rank - 1]
        return max((NormalDist().inv_cdf((1 + confidence) / 2), *self.scores))


def _score(point: Point, predicted_pp: float) -> float:
    return abs(point.loss_pp - predicted_pp) / _usual_pp(predicted_pp, point.divergence, point.count)


def _usual_pp(loss_pp: float, divergence: float, count: int) -> float:
    """What a prediction is usually off: the noise of paired samples, and the model's error."""
    changed = max(abs(loss_pp) / 100, CHANGED_PER_ROOT_NAT * sqrt(divergence))
    return sqrt(1e4 * (changed + 1 / count) / count + (USUAL_ERROR * loss_pp) ** 2)
