import numpy as np
import pytest

from runtime.errors import TooFewRunsError
from runtime.percentiles import percentile_upper_bound, runs_needed


@pytest.mark.parametrize(
    ("percentile", "confidence", "runs"), [(95, 0.95, 59), (99, 0.95, 299), (50, 0.5, 1), (50, 0.95, 5)]
)
def test_runs_needed_are_enough_and_one_less_is_not(percentile, confidence, runs):
    assert runs_needed(percentile, confidence) == runs
    assert percentile_upper_bound(range(runs), percentile, confidence) == runs - 1
    with pytest.raises(TooFewRunsError, match=f"needs {runs} runs, there are {runs - 1}; run more often"):
        percentile_upper_bound(range(runs - 1), percentile, confidence)


def test_the_rank_is_that_of_the_textbook():
    # 300 runs: P(binomial(300, 0.95) <= 290) = 0.934, ... <= 291) = 0.966, so the 292nd smallest.
    assert percentile_upper_bound(range(300), 95) == 291


def test_order_of_runs_does_not_matter():
    seconds = np.random.default_rng(0).gamma(2.0, 1e-4, 300)
    assert percentile_upper_bound(seconds, 95) == percentile_upper_bound(sorted(seconds), 95)


@pytest.mark.parametrize("percentile", [50, 95, 99])
def test_the_bound_covers_the_true_percentile_as_often_as_promised(percentile):
    rng = np.random.default_rng(2017)
    samples = rng.exponential(size=(1000, 300))
    truth = -np.log(1 - percentile / 100)
    bounds = [percentile_upper_bound(each, percentile) for each in samples.tolist()]
    # Not below the confidence by more than three standard errors.
    assert np.mean(np.array(bounds) >= truth) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 1000)


def test_the_bound_is_not_simply_the_slowest_run():
    seconds = np.random.default_rng(2017).exponential(size=1000)
    assert percentile_upper_bound(seconds, 95) < np.quantile(seconds, 0.98)
