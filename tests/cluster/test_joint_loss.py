"""The upper end of a loss: as often above the true loss as it says."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.joint_loss import JointLoss
from cost_model.loss_curve import CHANGED_PER_ROOT_NAT
from cost_model.measurement import Evaluation

counts = st.integers(100, 10_000)
divergences = st.floats(0, 0.5)
confidences = st.sampled_from([0.6, 0.9, 0.95, 0.99])


@pytest.mark.parametrize("true_loss", [0.0, 0.004, 0.01])
def test_the_true_loss_is_below_as_often_as_it_says(true_loss):
    random, count, divergence = np.random.default_rng(1), 5000, 0.01
    changed = CHANGED_PER_ROOT_NAT * sqrt(divergence)
    worse, better = (changed + true_loss) / 2, (changed - true_loss) / 2
    counted = random.multinomial(count, [worse, better, 1 - changed], size=4000)
    losses = 100 * (counted[:, 0] - counted[:, 1]) / count
    below = [JointLoss(each, divergence, count).upper_pp(0.9) >= 100 * true_loss for each in losses]
    assert np.mean(below) == pytest.approx(0.9, abs=0.02)


@given(count=counts, divergence=divergences, loss_pp=st.floats(-2, 90), confidence=confidences)
def test_more_samples_tell_more(count, divergence, loss_pp, confidence):
    few, many = (JointLoss(loss_pp, divergence, each).upper_pp(confidence) for each in (count, 4 * count))
    assert few >= many >= loss_pp
    assert few - loss_pp == pytest.approx(2 * (many - loss_pp))


@given(count=counts, divergence=st.floats(1e-6, 0.5), confidence=confidences)
def test_a_configuration_that_changes_more_is_known_less(count, divergence, confidence):
    small, large = (JointLoss(0.1, each, count).upper_pp(confidence) for each in (divergence, 2 * divergence))
    assert small <= large


def test_of_the_exact_configuration_all_is_known():
    exact = Evaluation("n", "s", "{}", "v", 100, 90, 0.0)
    assert JointLoss.beside(exact, exact).upper_pp(0.99) == 0


def test_where_turned_answers_were_kept_they_tell_the_doubt():
    few, many = (JointLoss(1.0, 0.01, 1000, turned) for turned in ((5, 15), (95, 105)))
    assert few.upper_pp(0.5) == many.upper_pp(0.5) == 1.0
    assert 1.0 < few.upper_pp(0.9) < many.upper_pp(0.9)
    assert 1.0 > few.lower_pp(0.9) > many.lower_pp(0.9)


def test_it_is_what_evaluations_show():
    exact, other = (Evaluation("n", "s", "{}", "v", 200, correct, 0.25) for correct in (180, 170))
    assert JointLoss.beside(exact, other) == JointLoss(pytest.approx(5.0), 0.25, 200)
