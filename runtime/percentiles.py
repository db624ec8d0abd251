"""What a finite number of runs says about a latency percentile. Pure, no assumption on the distribution.

If the runs are independent, the number of them below the true p-quantile is binomial(n, p). The k-th smallest
run is therefore an upper confidence bound of that quantile as soon as P(binomial(n, p) < k) reaches the
confidence (David and Nagaraja, Order Statistics, 3rd edition, section 7.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import ceil, exp, lgamma, log

from runtime.errors import TooFewRunsError


def percentile_upper_bound(seconds: Sequence[float], percentile: float, confidence: float = 0.95) -> float:
    """The smallest run that is, with that confidence, no less than the true percentile.

    ``percentile`` is between 0 and 100, ``confidence`` between 0 and 1, both exclusive. Raises
    ``TooFewRunsError`` where not even the slowest run is known to be that far up.
    """
    ordered = sorted(seconds)
    cumulative = accumulate(_binomial(len(ordered), percentile / 100))
    rank = next((index for index, share in enumerate(cumulative) if share >= confidence), len(ordered))
    if rank >= len(ordered):
        raise TooFewRunsError(
            f"percentile {percentile:g} at a confidence of {confidence:.0%} needs "
            f"{runs_needed(percentile, confidence)} runs, there are {len(ordered)}; run more often"
        )
    return ordered[rank]


def runs_needed(percentile: float, confidence: float = 0.95) -> int:
    """The least number of runs of which the slowest is an upper confidence bound of that percentile."""
    # A hair less than the quotient: 95 % of p50 must not become one run more by rounding.
    return max(1, ceil(log(1 - confidence) / log(percentile / 100) - 1e-9))


def _binomial(n: int, p: float) -> Iterator[float]:
    """Probabilities of 0 to n successes, through logarithms because n! overflows."""
    for k in range(n + 1):
        yield exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log(1 - p))
