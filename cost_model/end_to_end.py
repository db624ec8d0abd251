"""From the sum of isolated kernels to a network's latency percentile on one device.

Kernels timed alone run in a hot cache and say nothing of the executor between them. Every verified run of a
device gives one observation; the remainder is modelled as ``scale * sum + overhead`` (both not negative,
least squares of relative errors) and then anchored, so that it is exact for the latest run: what is tried
next is close to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

    def predict_s(self, kernels_s: float) -> float:
        """Latency in seconds of a configuration whose kernels' medians add up to ``kernels_s``."""
        return self.scale * kernels_s + self.overhead_s
