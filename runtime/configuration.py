"""A configuration (one variant for each layer of a network) and the certificate of its verification.

Frozen facts, pure. ``to_dict`` gives plain data for JSON and YAML, ``from_dict`` reads it back and raises
``RecordError`` where it is something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runtime.percentiles import percentile_upper_bound
from runtime.records import RARE, from_plain, to_plain

__all__ = [
    "Certificate",
    "Configuration",
    "Costs",
    "LayerChoice",
    "Tile",
    "Verdict",
    "percentile_upper_bound",
]

Tile = tuple[int, ...]
Verdict = Literal["holds", "violated", "best effort"]


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """The variant that one layer got."""

    layer: str
    approximation: str
    reads: str
    """Form of the tensor: ``f32``, or ``u8/16`` where it has 16 channels that somebody chose."""
    writes: str
    tiles: tuple[Tile, ...]
    """One for each kernel of the variant, in call order."""
    latency_s: float
    """Sum of the medians of its kernels, each timed alone."""
    parameter_bytes: int
    divergence: float
    """What approximating this layer alone does to the output: mean Kullback-Leibler divergence in nats."""
    measured: bool
    """Whether the latency was measured on the device; predicted otherwise."""
    operator: str = field(default="", metadata=RARE)
    """ONNX's name of the operator of an opaque layer, which has no kernel of ours."""

    @property
    def label(self) -> str:
        """The approximation as people read it; ``opaque (Einsum)`` where there is none to choose from."""
        if not self.operator:
            return self.approximation
        return f"opaque ({self.operator})"

    @property
    def variant(self) -> str:
        """``approximation f32>u8``, unique within the layer."""
        return f"{self.approximation} {self.reads}>{self.writes}"


@dataclass(frozen=True, slots=True)
class Costs:
    """What a configuration costs on one device."""

    latency_s: float
    """Upper confidence bound of the bounds' percentile."""
    peak_bytes: int
    storage_bytes: int
    loss_pp: float
    """Accuracy below the exact configuration's, in percentage points."""
    accuracy: float | None = None
    """Share of samples answered correctly, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One variant for each layer, for one device, with what was predicted."""

    network: str
    network_sha256: str
    device_class: str
    unit: str
    target: str
    layers: tuple[LayerChoice, ...]
    """In the network's order."""
    predicted: Costs
    emulated: bool = field(default=False, metadata=RARE)
    """Whether its latencies are those of an emulated device, which say nothing about a real board."""

    @property
    def device(self) -> str:
        """``CLASS.UNIT``."""
        return f"{self.device_class}.{self.unit}"

    @property
    def key(self) -> str:
        """Content key, equal for equal variants: ``conv1: int8 f32>u8; conv2: ...``."""
        return "; ".join(f"{each.layer}: {each.variant}" for each in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data in the order of the fields."""
        return dict(to_plain(self))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Configuration:
        """Read what ``to_dict`` gave."""
        return from_plain(cls, plain, "configuration")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the device itself showed when the configuration ran on it, beside the exact one in one session.

    ``latency_s`` and ``exact_latency_s`` are upper confidence bounds of ``percentile`` by order statistics
    (``percentile_upper_bound``); the medians are plain.
    """

    verdict: Verdict
    """``best effort``: no configuration keeps the bounds, this one comes nearest."""
    device: str
    """``CLASS.UNIT``."""
    runs: int
    percentile: float
    confidence: float
    latency_s: float
    median_s: float
    exact_latency_s: float
    exact_median_s: float
    peak_bytes: int
    exact_peak_bytes: int
    storage_bytes: int
    exact_storage_bytes: int
    accuracy: float
    exact_accuracy: float
    loss_pp: float
    samples: int
    """How many labels the accuracies were counted on: one a sample, or one for each of its positions."""
    rounds: int
    """Configurations that ran on the device before this one was settled."""
    issued: str
    """ISO date."""
    versions: Mapping[str, str]
    emulated: bool = field(default=False, metadata=RARE)
    """Whether the device was an emulated one: its latencies say nothing about a real board."""
    answers_gained: int | None = field(default=None, metadata=RARE)
    """Of the samples' labels, met here and not by the exact network..."""
    answers_lost: int | None = field(default=None, metadata=RARE)
    """... and the other way round."""
    loss_low_pp: float | None = field(default=None, metadata=RARE)
    """With ``confidence`` the true loss is between this..."""
    loss_high_pp: float | None = field(default=None, metadata=RARE)
    """... and this, even though each of the ``rounds`` might have been refused for its loss."""

    @property
    def costs(self) -> Costs:
        """What was verified."""
        return Costs(self.latency_s, self.peak_bytes, self.storage_bytes, self.loss_pp, self.accuracy)

    @property
    def exact(self) -> Costs:
        """The same of the exact configuration: what relative bounds refer to."""
        return Costs(
            self.exact_latency_s, self.exact_peak_bytes, self.exact_storage_bytes, 0.0, self.exact_accuracy
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data in the order of the fields."""
        return dict(to_plain(self))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Certificate:
        """Read what ``to_dict`` gave."""
        return from_plain(cls, plain, "certificate")
