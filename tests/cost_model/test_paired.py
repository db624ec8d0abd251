"""Intervals of a loss from paired answers hold the true loss as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_model.errors import CostModelError
from cost_model.paired import loss_interval_pp, loss_quantile_pp


@pytest.mark.parametrize(
    ("count", "lost", "gained"),
    [(2000, 0.012, 0.010), (2000, 0.0, 0.0005), (500, 0.05, 0.01), (10_000, 0.03, 0.02)],
)
def test_the_true_loss_is_inside_as_often_as_promised(count: int, lost: float, gained: float) -> None:
    drawn = np.random.default_rng(3).multinomial(count, [lost, gained, 1 - lost - gained], size=1000)
    inside = [
        low <= 100 * (lost - gained) <= high
        for low, high in (loss_interval_pp(int(g), int(b), count, 0.95) for b, g, _ in drawn)
    ]
    assert np.mean(inside) >= 0.93


turned = st.integers(0, 300)


@given(gained=turned, lost=turned, more=st.integers(600, 10_000))
def test_the_interval_holds_what_was_counted_and_narrows_with_samples(
    gained: int, lost: int, more: int
) -> None:
    low, high = loss_interval_pp(gained, lost, more, 0.9)
    counted = loss_quantile_pp(gained, lost, more, 0.5)
    assert counted == 100 * (lost - gained) / more
    assert -100 <= low <= counted <= high <= 100
    wider = loss_interval_pp(gained, lost, more, 0.99)
    assert wider[0] <= low
    assert wider[1] >= high
    sure = loss_interval_pp(10 * gained, 10 * lost, 10 * more, 0.9)
    assert sure[1] - sure[0] < high - low


def test_answers_that_never_turned_still_leave_a_doubt() -> None:
    low, high = loss_interval_pp(0, 0, 1000, 0.95)
    assert low == pytest.approx(-high)
    assert 0 < high < 0.5


@given(gained=turned, lost=turned)
def test_what_is_lost_one_way_is_gained_the_other(gained: int, lost: int) -> None:
    low, high = loss_interval_pp(gained, lost, 1000, 0.95)
    other_low, other_high = loss_interval_pp(lost, gained, 1000, 0.95)
    assert (low, high) == pytest.approx((-other_high, -other_low), abs=1e-6)


@pytest.mark.parametrize("counts", [(-1, 0, 10), (0, -1, 10), (6, 5, 10), (0, 0, 0)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(CostModelError, match="impossible"):
        loss_quantile_pp(*counts, 0.9)
