"""Bars of predicted losses cover as often as they promise, also where the model is worse than usual."""

import numpy as np
import pytest

from cost_model.loss_bars import LossBars
from cost_model.loss_curve import CHANGED_PER_ROOT_NAT, LossCurve, Point

COUNT = 2000


def points(random: np.random.Generator, number: int, error: float) -> list[Point]:
    """Joint evaluations of a law, off it by a relative error and by the noise of so many samples."""
    divergences = 10 ** random.uniform(-2.7, -0.7, number)
    losses = 15 * divergences**0.8 * np.exp(random.normal(0, error, number))
    noise = 100 * np.sqrt(CHANGED_PER_ROOT_NAT * np.sqrt(divergences) / COUNT)
    counted = losses + random.normal(0, 1, number) * noise
    return [
        Point(float(d), float(each), COUNT, joint=True) for d, each in zip(divergences, counted, strict=True)
    ]


@pytest.mark.parametrize("error", [0.0, 0.15, 0.5])
@pytest.mark.parametrize("confidence", [0.8, 0.9])
def test_bars_cover_what_was_never_seen_as_often_as_promised(error: float, confidence: float):
    random = np.random.default_rng(11)
    covered = []
    for _ in range(25):
        known, other = points(random, 30, error), points(random, 20, error)
        curve, bars = LossCurve.fit(known), LossBars.fit(known)
        for each in other:
            bar = bars.estimate(curve.loss_pp(each.divergence), each.divergence, confidence)
            covered.append(bar.low_pp <= each.loss_pp <= bar.high_pp)
    assert np.mean(covered) >= confidence - 0.03


def test_a_worse_model_has_longer_bars():
    random = np.random.default_rng(1)
    good, bad = (LossBars.fit(points(random, 40, error)) for error in (0.05, 0.8))
    assert bad.reach(0.9) > 1.5 * good.reach(0.9)


def test_without_evaluations_a_bar_is_that_of_a_usual_model():
    assert LossBars.fit([Point(0.01, 0.4, COUNT, joint=False)]) == LossBars()
    bar = LossBars().estimate(1.0, 0.02, 0.95)
    assert 0.3 < bar.high_pp - bar.loss_pp < 1.5
    assert bar.loss_pp - bar.low_pp == pytest.approx(bar.high_pp - bar.loss_pp)


def test_the_exact_configuration_has_no_bar():
    bar = LossBars().estimate(0.0, 0.0, 0.95)
    assert (bar.low_pp, bar.high_pp) == (0.0, 0.0)
    assert str(bar) == "+0.00 ±0.00 pp"
