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
