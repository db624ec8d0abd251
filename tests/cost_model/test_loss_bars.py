"""Bars of predicted losses cover as often as they promise, also where the model is worse than usual."""

import numpy as np
import pytest

from cost_model.joint_law import JointLaw, PairEffects, Tried, pairs
from cost_model.loss_bars import LossBars
from cost_model.loss_curve import CHANGED_PER_ROOT_NAT

COUNT = 2000


def configurations(random: np.random.Generator, number: int, error: float) -> list[Tried]:
    """Four layers each; off the law by a relative error and by the noise of so many samples."""
    found = []
    for _ in range(number):
        alone = tuple((10 ** random.uniform(-3.5, -1.5, 4)).tolist())
        divergence = 0.4 * sum(alone) + 0.3 * pairs(alone)
        loss = 15 * divergence**0.8 * np.exp(random.normal(0, error))
        noise = 100 * np.sqrt(CHANGED_PER_ROOT_NAT * np.sqrt(divergence) / COUNT)
        found.append(Tried(alone, divergence, float(loss + random.normal(0, noise)), COUNT))
    return found


@pytest.mark.parametrize("error", [0.0, 0.15, 0.5])
@pytest.mark.parametrize("confidence", [0.8, 0.9])
def test_bars_cover_what_was_never_seen_as_often_as_promised(error: float, confidence: float):
    random = np.random.default_rng(11)
    covered = []
    for _ in range(25):
        law = JointLaw.fit(configurations(random, 30, error))
        for each in configurations(random, 20, error):
            bar = law.estimate(each.alone, confidence)
            covered.append(bar.low_pp <= each.loss_pp <= bar.high_pp)
    assert np.mean(covered) >= confidence - 0.03


def test_what_pairs_have_in_common_is_learned():
    random = np.random.default_rng(2)
    effects = PairEffects.fit(configurations(random, 30, 0.1))
    for each in configurations(random, 30, 0.1):
        assert effects.divergence(each.alone) == pytest.approx(each.divergence, rel=0.1)
    assert effects.shared > 0
    assert effects.divergence((0.02,)) == 0.02
    assert PairEffects.fit([]).divergence((0.02, 0.01)) == pytest.approx(0.03)


def test_a_worse_model_has_longer_bars():
    random = np.random.default_rng(1)
    good, bad = (JointLaw.fit(configurations(random, 40, error)).bars for error in (0.05, 0.8))
    assert bad.reach(0.9) > 1.3 * good.reach(0.9)


def test_without_evaluations_a_bar_is_that_of_a_usual_model():
    assert JointLaw.fit([Tried((0.01,), 0.01, 0.4, COUNT)]).bars == LossBars()
    bar = LossBars().estimate(1.0, 0.02, 0.95)
    assert 0.3 < bar.high_pp - bar.loss_pp < 1.5
    assert bar.loss_pp - bar.low_pp == pytest.approx(bar.high_pp - bar.loss_pp)


def test_the_exact_configuration_has_no_bar():
    bar = LossBars().estimate(0.0, 0.0, 0.95)
    assert (bar.low_pp, bar.high_pp) == (0.0, 0.0)
    assert str(bar) == "+0.00 ±0.00 pp"
