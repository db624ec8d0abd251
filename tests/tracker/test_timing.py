import math
from statistics import median

import numpy as np
import pytest

from tracker.timing import TimingPolicy, relative_half_width


@pytest.mark.parametrize(("count", "left_out"), [(6, 0), (9, 1), (10, 1), (20, 5), (100, 39)])
def test_the_interval_is_that_of_the_tables(count: int, left_out: int) -> None:
    # Hahn and Meeker, Table A.15: two-sided, 95 %, the median.
    values = [float(value) for value in range(1, count + 1)]
    width = values[-1 - left_out] - values[left_out]
    assert relative_half_width(values) == pytest.approx(width / 2 / median(values))


def test_few_repeats_say_nothing() -> None:
    assert relative_half_width([1.0] * 5) == math.inf
    assert not TimingPolicy().settled([1.0] * 5)
    assert TimingPolicy().settled([1.0] * 6)


def test_the_interval_holds_the_true_median_as_often_as_it_claims() -> None:
    random = np.random.default_rng(1)
    samples = random.exponential(size=(2000, 15))
    half_widths = np.array([relative_half_width(list(row)) * np.median(row) for row in samples])
    ordered = np.sort(samples)
    held = (ordered[:, 3] <= math.log(2)) & (math.log(2) <= ordered[:, 11])
    assert np.allclose(half_widths, (ordered[:, 11] - ordered[:, 3]) / 2)
    assert held.mean() >= 0.95


def test_a_repeat_lasts_long_enough() -> None:
    policy = TimingPolicy(min_repeat_s=1e-3)
    assert policy.number(1e-5) == 100
    assert policy.number(0.3) == 1
    assert policy.number(0.0) > 1


def test_as_few_repeats_as_can_say_enough_are_taken_first() -> None:
    assert TimingPolicy().next_repeats([]) == 6
    assert TimingPolicy().next_repeats([1.0, 1.0]) == 4


@pytest.mark.parametrize(("spread", "more"), [(0.022, 3), (0.03, 8), (1.0, 6)])
def test_then_as_many_as_the_interval_lacks_and_at_most_as_many_again(spread: float, more: int) -> None:
    seconds = [1 - spread, 1.0, 1.0, 1.0, 1.0, 1 + spread]
    assert TimingPolicy().next_repeats(seconds) == min(more, len(seconds))


def test_there_are_never_more_repeats_than_allowed() -> None:
    policy = TimingPolicy(max_repeats=7)
    assert policy.next_repeats([0.5, 1.0, 1.0, 1.0, 1.0, 2.0]) == 1


def test_repeats_are_taken_until_they_say_enough() -> None:
    random, policy = np.random.default_rng(2), TimingPolicy(max_repeats=10_000)
    seconds: list[float] = []
    while not policy.settled(seconds):
        seconds += random.normal(1.0, 0.05, policy.next_repeats(seconds)).tolist()
    assert 6 < len(seconds) < 200
