"""What deciding for a device may lead to, and how hard it may try. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cluster.selection import Selection


@dataclass(frozen=True, slots=True)
class NeedMeasurements:
    """The proposed configuration stands on predictions: measure these kernels."""

    requests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeedEvaluation:
    """The joint accuracy of the proposed configuration on calibration samples is not known."""

    selection: Selection


@dataclass(frozen=True, slots=True)
class NeedRun:
    """The proposed configuration has not run on this device."""

    selection: Selection


@dataclass(frozen=True, slots=True)
class NeedProfile:
    """What kernels take at their places in a network is not known: run these with clocks between them."""

    selections: tuple[Selection, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The device has its configuration, or it is shown that none keeps the bounds."""

    verdict: Literal["holds", "infeasible", "unverified"]
    """``unverified``: the rounds ended before a configuration that should hold did."""
    selection: Selection
    """The configuration, or the best effort; it has run on the device."""
    nearest: Mapping[str, float | None] = field(default_factory=dict)
    """Where infeasible: for each bound the nearest feasible value with the others kept."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The class's configuration breaks the bounds on this unit: it goes on searching for all of them."""


COUNTED = 0.5
"""Confidence at which a loss is what was counted on the samples."""

Decision = NeedMeasurements | NeedProfile | NeedEvaluation | NeedRun | Finished | TakeOver


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much better a choice would have to be for it to be worth a measurement."""

    loss_pp: float = 0.1
    """Where the least loss is wanted."""
    share: float = 0.02
    """Of the cost, where the least of another cost is."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard to try."""

    rounds: int
    """Configurations that may run on the device, besides the uniform ones."""
    headroom: float
    """Share of the latency bound that is left free, because a device is never twice the same."""
    evaluations: int = 8
    """Configurations that may be evaluated in search of the largest loss that the bound allows, and as many
    again after each refusal: a run that lost too much on evaluation samples alone."""
    tolerance: Tolerance = Tolerance()
    confidence: float = 0.95
    """That a loss bound holds beyond the calibration samples, in the last round at the brink of it."""

    profiled: int = 0
    """Kernels that are read at their places in a network before anything is chosen; 0: none."""

    def confidence_after(self, refusals: int) -> float:
        """Bold at first, when the loss that was counted decides; with each refusal more cautious."""
        share = min(1.0, refusals / (self.rounds - 1)) if self.rounds > 1 else 1.0
        return COUNTED + share * (self.confidence - COUNTED)

    def evaluations_after(self, refusals: int) -> int:
        """How many there may be in all."""
        return self.evaluations * (1 + min(refusals, self.rounds))


@dataclass(frozen=True, slots=True)
class Spent:
    """What a device has used up for its goal; the uniform configurations are free."""

    rounds: int = 0
    evaluations: int = 0
    budget: bool = False
    """Whether the run's budget is spent: what is known by now has to do."""
