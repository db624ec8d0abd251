"""Predictions are judged by what they did not see."""

import random

import pytest

from benchmarks.accuracy import figures, ranked_right
from benchmarks.accuracy_ground import Evaluated
from cost_model.joint_law import Tried
from workers.accuracy import Effect

COUNT = 10_000


def effect(divergence: float, lost_pp: float) -> Effect:
    lost = round(lost_pp * COUNT / 100)
    return Effect(divergence, COUNT - lost, COUNT, 0, lost)


def evaluated(together: float) -> list[Evaluated]:
    """A world in which two layers do ``together`` times what they do alone; a loss is 10 points a nat."""
    draws = random.Random(1)
    alone = {
        (layer, name): draws.uniform(0.002, 0.05) for layer in ("conv1", "conv2", "ip1") for name in "abcdef"
    }
    known = [Evaluated({layer: name}, effect(each, 10 * each)) for (layer, name), each in alone.items()]
    for _ in range(40):
        names = {layer: draws.choice("abcdef") for layer in ("conv1", "conv2", "ip1")}
        divergence = together * sum(alone[pair] for pair in names.items())
        counted, truth = (effect(divergence, 10 * divergence * draws.uniform(0.9, 1.1)) for _ in range(2))
        known.append(Evaluated(names, counted, truth))
    return known


def test_what_layers_do_together_is_learned_from_other_configurations():
    found = figures(evaluated(together=0.5))
    assert found["configurations"] == 40
    assert found["accuracy_mae_pp"] < 0.1
    assert found["coverage_seen"] >= 0.85
    assert 0.2 < found["mean_loss_pp"] < 0.8


def test_an_order_is_right_as_often_as_its_values_say():
    near, far = (Tried((each,), each, 0.0, COUNT) for each in (0.01, 0.1))
    truth = [0.1, 0.3, 0.5, 0.7]
    assert ranked_right([(each, near, each) for each in truth]) == 1.0
    assert ranked_right([(-each, near, each) for each in truth]) == 0.0
    # 0.5 and 0.55 are too close to be told apart.
    assert ranked_right([(1.0, near, 0.5), (0.0, near, 0.55), (0.5, near, 0.1)]) == 0.5
    # That ten times the divergence loses more is no news.
    assert ranked_right([(1.0, near, 0.5), (0.0, near, 0.1), (2.0, far, 0.3)]) == 1.0


def test_a_loss_is_that_of_turned_answers():
    assert Effect(0.1, 90, 100, gained=2, lost=5).loss_pp == pytest.approx(3.0)
    with pytest.raises(ValueError, match="one by one"):
        _ = Effect(0.1, 90, 100).loss_pp
