"""How long things take on simulated devices: as drawn from a stated distribution, or as once recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median

from cost_model.measurement import Measurement
from workers.build import Executable

FILL_S = 0.01
"""To fill a function's arguments, and to call it once before it is timed."""


class _Factors(dict[str, float]):
    """Request to its factor, drawn when it is first asked for."""

    def __init__(self, seed: int, spread: float) -> None:
        super().__init__()
        self._seed, self._spread = seed, spread

    def __missing__(self, request: str) -> float:
        draw = Random(f"{self._seed} {request}")  # noqa: S311 (a simulation)
        self[request] = factor = draw.lognormvariate(0.0, self._spread)
        return factor


@dataclass(slots=True, eq=False)
class DrawnTimes:
    """Lognormal times; the same seed and request give the same time."""

    seed: int
    kernel_median_s: float = 2e-3
    timing_median_s: float = 0.3
    """Of what it takes to time a request, whatever it times."""
    spread: float = 0.5
    """Standard deviation of the logarithms."""
    network_s_per_byte: float = 1e-9
    _factors: _Factors = field(init=False)

    def __post_init__(self) -> None:
        self._factors = _Factors(self.seed, self.spread)

    def kernel_s(self, request: str) -> float:
        """One call of a request's function."""
        return self.kernel_median_s * self._factors[request]

    def timing_s(self, requests: Iterable[str]) -> float:
        """Timing requests one after the other; large kernels take longer."""
        return self.timing_median_s * sum(map(self._factors.__getitem__, requests))

    def network_s(self, executable: Executable) -> float:
        """One inference, by what the device has to read."""
        return self.kernel_median_s + self.network_s_per_byte * executable.transfer_bytes


@dataclass(frozen=True, slots=True, eq=False)
class RecordedTimes:
    """Times of a class as a store has them: its ``measurements``, and ``network`` seconds of inferences."""

    measurements: Mapping[str, Measurement]
    """By request, as ``cost_model.store.Store.measurements`` gives them; none of them a failure."""
    network: Sequence[float]

    def kernel_s(self, request: str) -> float:
        """The median that was measured; raises KeyError for what was not."""
        return self.measurements[request].median_s

    def timing_s(self, requests: Iterable[str]) -> float:
        """What timing them took then."""
        return sum(self._timing_s(self.measurements[each]) for each in requests)

    def network_s(self, _: Executable) -> float:
        """The median of what was recorded, whatever the network."""
        return median(self.network)

    @staticmethod
    def _timing_s(measurement: Measurement) -> float:
        return FILL_S + measurement.number * sum(measurement.seconds)
