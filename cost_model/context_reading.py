"""What a kernel takes inside a network, read by a clock between the kernels of a configuration.

A kernel that is timed alone finds its weights in the cache and the cache to itself. Inside a network its
weights are cold and its input was just written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from cost_model.errors import CostModelError
from cost_model.measurement import quantile_s

SHORTEST_S = 1e-9
"""Of what is left of a reading without the clock: the tick of the finest clock."""


@dataclass(frozen=True, slots=True)
class ContextReading:
    """One kernel at its place in one configuration of a network, on one device of a class."""

    kernel: str
    """Content key, with the tile: the same as that of the ``Measurement`` of this kernel alone."""
    network: str
    """SHA-256 of the ONNX file."""
    layer: str
    step: int
    """Which kernel of its layer's variant it is."""
    configuration: str
    """Content key of the selection that it stood in: every layer's variant, every kernel's tile."""
    device_class: str
    target: str
    versions: str
    device: str
    """``CLASS.UNIT``."""
    seconds: tuple[float, ...]
    """One for each run of the network, in the order taken: from the end of the kernel before it to its own
    end, so with its call and with one look at the clock. A clock may have no finer tick: 0 is possible."""
    clock_s: float
    """What one look at the clock takes, read in the same runs: the median."""
    rest_s: float
    """What a run of the configuration takes besides its kernels and the clock, read likewise."""
    conditions: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"reading of {self.kernel} in layer {self.layer} on {self.device}"
        if not self.seconds:
            raise CostModelError(f"{where} has no seconds; a network that did not run has no readings")
        figures = (*self.seconds, self.clock_s, self.rest_s)
        if wrong := [each for each in figures if not (isfinite(each) and each >= 0)]:
            raise CostModelError(f"{where}: {wrong[0]} is no time in seconds; run the network again")

    @property
    def median_s(self) -> float:
        """Of the runs, without the clock; above 0."""
        return max(quantile_s(self.seconds, 0.5) - self.clock_s, SHORTEST_S)
