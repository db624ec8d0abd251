"""What was measured: frozen facts, with all raw repeats and the conditions they were taken under.

A failure is a value: a measurement without seconds that says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import hypot, isfinite

import numpy as np

from cost_model.errors import CostModelError
from tracker.timing import relative_half_width

DISTURBED_TAIL = 2.0
"""Percentile over median that no device of ours shows when it is left alone."""
USUAL_ERROR = 0.1
"""Of a predicted latency, as a share."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One kernel, timed alone on one device of a class."""

    kernel: str
    """Content key, with the tile."""
    device_class: str
    target: str
    versions: str
    """What the result depends on besides its content; another version never answers for this one."""
    device: str
    """``CLASS.UNIT``."""
    number: int
    """Calls that one repeat averages over."""
    seconds: tuple[float, ...]
    """Per call, every raw repeat in the order taken; empty if it failed."""
    converged: bool
    conditions: Mapping[str, float | str] = field(default_factory=dict)
    failure: str | None = None

    def __post_init__(self) -> None:
        _check_seconds(self.seconds, f"measurement of {self.kernel} on {self.device}")
        if not self.seconds and self.failure is None:
            raise CostModelError(
                f"measurement of {self.kernel} on {self.device} has neither seconds nor a failure; "
                "record the reason as its failure"
            )

    @property
    def marks(self) -> tuple[str, ...]:
        """Why it says less than others: ``spread``, ``drift``, ``hot``; a failure has none."""
        if self.failure is not None:
            return ()
        spread = () if self.converged else ("spread",)
        return (*spread, *(name for name in ("drift", "hot") if name in self.conditions))

    @property
    def weight(self) -> float:
        """How much its median says of the kernel, beside one without marks: above 0, at most 1.

        A model that is wrong by ``USUAL_ERROR`` itself gains nothing from believing a median that is less
        certain; half of a correction for drift counts as uncertain.
        """
        if not self.marks:
            return 1.0
        half_width = 0.0 if self.converged else _half_width(self.seconds)
        uncertainty = hypot(half_width, float(self.conditions.get("drift", 0.0)) / 2)
        return 1 / (1 + (uncertainty / USUAL_ERROR) ** 2)

    @property
    def median_s(self) -> float:
        """Median of the raw repeats; raises ``CostModelError`` for a failure."""
        return self.quantile(0.5)

    def quantile(self, p: float) -> float:
        """The smallest repeat that at least a share ``p`` of the repeats does not exceed, in seconds.

        The median of an even number is the mean of the middle two. Raises ``CostModelError`` for a failure.
        """
        if not self.seconds:
            raise CostModelError(
                f"{self.kernel} failed on {self.device}: {self.failure}; look at `failure` before the seconds"
            )
        return quantile_s(self.seconds, p)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a configuration answers the samples, compared with the exact network."""

    network: str
    """SHA-256 of the ONNX file."""
    samples: str
    """SHA-256 of the samples with their labels."""
    configuration: str
    """Content key, see ``configuration_key``."""
    versions: str
    count: int
    correct: int
    divergence: float
    """Mean Kullback-Leibler divergence of the softmax from the exact network's, in nats."""
    confidences: tuple[float, ...] = ()
    """Largest softmax probability of every sample in order, where it was kept."""
    gained: int | None = None
    """Answers that are right here and wrong in the exact network..."""
    lost: int | None = None
    """... and the other way round; ``None`` in stores of schema 3 and before."""

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.count or self.count == 0 or not isfinite(self.divergence):
            raise CostModelError(
                f"evaluation of {self.configuration}: {self.correct} correct of {self.count} samples at "
                f"divergence {self.divergence} is impossible; look for NaN in the network's output"
            )

    @property
    def accuracy(self) -> float:
        """Share of samples answered correctly, 0 to 1."""
        return self.correct / self.count

    @property
    def turned(self) -> tuple[int, int] | None:
        """Answers gained and lost, where they were kept."""
        return None if self.gained is None or self.lost is None else (self.gained, self.lost)


@dataclass(frozen=True, slots=True)
class NetworkRun:
    """A whole configuration, run end to end on one device."""

    configuration: str
    network: str
    device_class: str
    target: str
    versions: str
    device: str
    seconds: tuple[float, ...]
    """Per inference, every raw repeat in the order taken."""
    exact_seconds: tuple[float, ...]
    """The same of the exact configuration, interleaved in the same session; may be empty."""
    peak_bytes: int
    exact_peak_bytes: int
    library_bytes: int
    storage_bytes: int
    """On the device's disk: library, parameters and configuration."""
    sessions: int | None = None
    """Processes that the repeats were taken in, equally many in each, one after the other; ``None`` in stores
    of schema 3 and before."""

    def __post_init__(self) -> None:
        where = f"run of {self.configuration} on {self.device}"
        _check_seconds(self.seconds, where)
        _check_seconds(self.exact_seconds, where)
        if not self.seconds:
            raise CostModelError(f"{where} has no seconds; a run that failed is not a run")

    def disturbed(self, percentile: float) -> bool:
        """Whether something else kept the device busy, as far as that percentile is concerned.

        The exact configuration beside it tells: where its own percentile is far above its median, the run
        says little about the configuration, and a share of the exact one's latency says nothing.
        """
        if not self.exact_seconds:
            return False
        reached = quantile_s(self.exact_seconds, percentile / 100)
        return reached > DISTURBED_TAIL * quantile_s(self.exact_seconds, 0.5)

    def spread(self, percentile: float) -> float:
        """How far apart its sessions are at that percentile, as a share; 0 where there is one only.

        Of the latency by the exact configuration's in the same session, as what moved both says nothing.
        """
        parts = zip(self._by_session(self.seconds), self._by_session(self.exact_seconds), strict=True)
        shares = [
            quantile_s(own, percentile / 100) / quantile_s(exact, percentile / 100)
            for own, exact in parts
            if own and exact
        ]
        return (max(shares) - min(shares)) / float(np.median(shares)) if shares else 0.0

    def _by_session(self, seconds: tuple[float, ...]) -> list[tuple[float, ...]]:
        count = self.sessions or 1
        size = len(seconds) // count
        return [seconds[at * size : (at + 1) * size] for at in range(count)]


def quantile_s(seconds: tuple[float, ...], p: float) -> float:
    """The median for 0.5, else the smallest of ``seconds`` that a share ``p`` of them does not exceed."""
    return float(np.median(seconds) if p == 0.5 else np.quantile(seconds, p, method="inverted_cdf"))


def configuration_key(variants: Mapping[str, str]) -> str:
    """Canonical JSON of layer name to variant key: equal configurations have equal keys."""
    return json.dumps(dict(variants), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def configuration_variants(key: str) -> dict[str, str]:
    """Layer name to variant key, from what ``configuration_key`` returned."""
    try:
        variants = json.loads(key)
    except json.JSONDecodeError:
        variants = None
    if not isinstance(variants, dict) or not all(isinstance(each, str) for each in variants.values()):
        raise CostModelError(f"{key!r} is no configuration key; make one with configuration_key()")
    return variants


def _half_width(seconds: tuple[float, ...]) -> float:
    """Of the median's confidence interval, as a share; of few repeats not less than what models err."""
    half_width = relative_half_width(seconds)
    if isfinite(half_width):
        return half_width
    return max(USUAL_ERROR, (max(seconds) - min(seconds)) / (2 * quantile_s(seconds, 0.5)))


def _check_seconds(seconds: tuple[float, ...], where: str) -> None:
    if wrong := [each for each in seconds if not (isfinite(each) and each > 0)]:
        raise CostModelError(
            f"{where}: {wrong[0]} is no time in seconds; measure it again with more calls a repeat"
        )
