"""From planned bytes to the peak that a device shows: what the runtime takes beside the network.

Tensors are padded to pages, the library and the executor come on top, and nobody knows how much before
something ran. Every verified run gives one observation: ``peak = scale * planned + offset_bytes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class PeakObservation:
    """One verified run."""

    planned_bytes: int
    """Parameters and the largest live set."""
    peak_bytes: int
    """As the device showed it."""


@dataclass(frozen=True, slots=True)
class Peak:
    """``scale * planned + offset_bytes``."""

    scale: float = 1.0
    offset_bytes: int = 0

    @classmethod
    def fit(cls, observations: Sequence[PeakObservation]) -> Peak:
        """Learn from verified runs, the latest last: least squares of relative errors.

        The latest one's peak is not predicted lower than it was. Without any run nothing is known to come on
        top; of runs with the same plan only by how much.
        """
        if not observations:
            return cls()
        planned, peaks = (
            np.array(each, dtype=np.float64)
            for each in zip(*((one.planned_bytes, one.peak_bytes) for one in observations), strict=True)
        )
        scale, offset = 1.0, peaks[-1] - planned[-1]
        if len(set(planned)) > 1:
            design = np.stack([planned / peaks, 1 / peaks], axis=1)
            scale, offset = np.linalg.lstsq(design, np.ones(len(peaks)))[0]
        short = max(0.0, peaks[-1] - (scale * planned[-1] + offset))
        return cls(float(scale), round(offset + short))

    def predict_bytes(self, planned_bytes: int) -> int:
        """Peak of a configuration with these parameters and this live set."""
        return round(self.scale * planned_bytes) + self.offset_bytes
