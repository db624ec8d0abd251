"""From what layers do alone to what they lose together: pairwise effects first, then the loss. Pure.

To second order the divergence of a configuration is a quadratic form in the errors of its layers: their own
divergences, and for each pair the root of both times how much they have in common. A refit takes some of both
away. Two factors, one for what layers do alone and one for all pairs, are fitted to the configurations that
were evaluated as a whole. A curve over the divergence that was found, not summed, turns that into a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

import numpy as np
from scipy.optimize import nnls

from cost_model.loss_bars import Estimate, LossBars
from cost_model.loss_curve import LossCurve, Point

PRIOR = 0.1
"""Weight of adding up, beside that of one configuration."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An evaluated configuration."""

    alone: tuple[float, ...]
    """Divergence of each of its approximated layers alone."""
    divergence: float
    """Of them all together."""
    loss_pp: float
    count: int

    @property
    def point(self) -> Point:
        """As the curve sees it."""
        return Point(self.divergence, self.loss_pp, self.count, joint=len(self.alone) > 1)


@dataclass(frozen=True, slots=True)
class PairEffects:
    """How much of what layers do alone, and of what each pair has in common, a configuration shows."""

    own: float = 1.0
    shared: float = 0.0

    @classmethod
    def fit(cls, tried: Sequence[Tried]) -> PairEffects:
        """Learn from joint evaluations; relative errors count. Without any, divergences add up."""
        joint = [each for each in tried if len(each.alone) > 1 and each.divergence > 0]
        rows = [np.array([fsum(each.alone), pairs(each.alone)]) / each.divergence for each in joint]
        prior = sqrt(PRIOR) * np.eye(2)
        system = np.vstack([*rows, prior])
        wanted = np.concatenate([np.ones(len(rows)), prior @ [1.0, 0.0]])
        own, shared = nnls(system, wanted)[0]
        return cls(float(own), float(shared))

    def divergence(self, alone: Sequence[float]) -> float:
        """Of a configuration; one layer alone does what it does alone."""
        if len(alone) < 2:
            return fsum(alone)
        return self.own * fsum(alone) + self.shared * pairs(alone)


@dataclass(frozen=True, slots=True)
class JointLaw:
    """What a configuration loses, by the divergences of its layers alone."""

    effects: PairEffects
    curve: LossCurve
    """Over the divergence of the whole configuration."""
    bars: LossBars

    @classmethod
    def fit(cls, tried: Sequence[Tried]) -> JointLaw:
        """Learn from single layers and joint configurations."""
        law = cls._without_bars(tried)
        joint = [each for each in tried if len(each.alone) > 1]
        single = [each for each in tried if len(each.alone) < 2]

        def unseen(left: Sequence[Tried], others: Sequence[Tried]) -> list[tuple[Point, float]]:
            known = cls._without_bars([*single, *others])
            return [(each.point, known.predict_pp(each.alone)) for each in left]

        return cls(law.effects, law.curve, LossBars.fit(joint, unseen))

    @classmethod
    def _without_bars(cls, tried: Sequence[Tried]) -> JointLaw:
        return cls(PairEffects.fit(tried), LossCurve.fit([each.point for each in tried]), LossBars())

    def predict_pp(self, alone: Sequence[float]) -> float:
        """In percentage points of accuracy."""
        return self.curve.loss_pp(self.effects.divergence(alone))

    def estimate(self, alone: Sequence[float], confidence: float = 0.95) -> Estimate:
        """The same with its bar."""
        divergence = self.effects.divergence(alone)
        return self.bars.estimate(self.curve.loss_pp(divergence), divergence, confidence)


def pairs(alone: Sequence[float]) -> float:
    """The roots of each two of them multiplied, added up."""
    return (fsum(sqrt(each) for each in alone) ** 2 - fsum(alone)) / 2
