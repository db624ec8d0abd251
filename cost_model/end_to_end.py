"""From the sum of kernels to a network's latency percentile on one device.

Kernels timed alone run in a hot cache and say nothing of the executor between them. Every verified run of a
device gives one observation; the remainder is modelled as ``scale * sum + overhead`` (both not negative,
least squares of relative errors) and then anchored, so that it is exact for the latest run: what is tried
next is close to it.

Of kernels that are read at their places the sum is the network but for a rest that is read with them. What
remains is how far the percentile lies above the median, and that is one factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True, slots=True)
class Observation:
    """One verified run: the sum of its kernels' medians and what was measured end to end."""

    kernels_s: float
    measured_s: float


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """``scale * (sum of kernels) + overhead_s``."""

    scale: float = 1.0
    overhead_s: float = 0.0

    @classmethod
    def fit(cls, observations: Sequence[Observation]) -> EndToEnd:
        """Learn from verified runs, the latest last; without any, kernels simply add up."""
        if not observations:
            return cls()
        last = observations[-1]
        if len(observations) == 1:
            return cls(scale=last.measured_s / last.kernels_s)
        kernels = np.array([each.kernels_s for each in observations])
        measured = np.array([each.measured_s for each in observations])
        design = np.stack([kernels / measured, 1.0 / measured], axis=1)
        (scale, overhead), _ = nnls(design, np.ones(len(observations)))
        fitted = scale * last.kernels_s + overhead
        anchor = last.measured_s / fitted if fitted > 0 else 1.0
        return cls(float(scale * anchor), float(overhead * anchor))

    @classmethod
    def in_context(
        cls, observations: Sequence[Observation], rest_s: float, *, cautious: bool = False
    ) -> EndToEnd:
        """The same where the kernels were read at their places, and what is left of a run with them.

        The factor is the median of all runs', as one alone may have been lucky; a ``cautious`` one is not
        below that of the latest: what was too slow once is not believed to be faster.
        """
        ratios = [each.measured_s / (each.kernels_s + rest_s) for each in observations]
        factor = median(ratios) if ratios else 1.0
        if cautious and ratios:
            factor = max(factor, ratios[-1])
        return cls(factor, factor * rest_s)

    def predict_s(self, kernels_s: float) -> float:
        """Latency in seconds of a configuration whose kernels' medians add up to ``kernels_s``."""
        return self.scale * kernels_s + self.overhead_s
