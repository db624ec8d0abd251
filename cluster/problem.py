"""What the solver is asked and what it answers: frozen facts, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, inf
from typing import Literal

from cluster.errors import ClusterError
from cost_model.memory import LayerMemory, peak_bytes

Objective = Literal["divergence", "latency", "memory", "storage"]
OBJECTIVES: tuple[Objective, ...] = ("latency", "memory", "storage", "divergence")


FIELDS: Mapping[Objective, str] = {
    "latency": "latency_s",
    "memory": "memory_bytes",
    "storage": "storage_bytes",
    "divergence": "divergence",
}


class SolverError(ClusterError):
    """The problem is not well formed; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Option:
    """A variant of one layer with its costs; ``variant`` is unique within the layer."""

    layer: str
    variant: str
    latency_s: float
    parameter_bytes: int
    live_bytes: int
    """Alive at once while the layer runs: input, output, workspace, and what lies between its kernels."""
    output_bytes: int
    """Alive for as long as somebody behind it reads it."""
    storage_bytes: int
    divergence: float
    reads: str
    """Form of the tensor, which its producer writes."""
    writes: str

    @property
    def costs(self) -> tuple[float, ...]:
        """Everything that less of is better."""
        return (
            self.latency_s,
            self.parameter_bytes,
            self.live_bytes,
            self.output_bytes,
            self.storage_bytes,
            self.divergence,
        )

    @property
    def memory(self) -> LayerMemory:
        """What the memory model wants to know."""
        return LayerMemory(self.parameter_bytes, self.live_bytes, self.output_bytes)


@dataclass(frozen=True, slots=True)
class Problem:
    """What there is to choose from, and what every configuration costs besides."""

    layers: tuple[tuple[Option, ...], ...]
    edges: tuple[tuple[int, int], ...]
    """Producer and consumer layer: the one writes what the other reads."""
    held: tuple[tuple[int, ...], ...] = ()
    """For each layer those whose outputs wait beside it; nothing: a chain, where none does."""
    latency_offset_s: float = 0.0
    memory_offset_bytes: int = 0
    storage_offset_bytes: int = 0
    forbidden: tuple[tuple[str, ...], ...] = ()
    """Whole configurations, a variant a layer, that are known not to hold."""

    def __post_init__(self) -> None:
        for index, options in enumerate(self.layers):
            variants = [each.variant for each in options]
            if not options or len(set(variants)) < len(variants):
                raise SolverError(f"layer {index} needs options with different variants, it has {variants}")
            if wrong := [each for each in options if not all(0 <= cost < inf for cost in each.costs)]:
                raise SolverError(
                    f"{wrong[0]} has a cost that is negative or not finite; leave the option out"
                )
        if wrong_cut := [each for each in self.forbidden if len(each) != len(self.layers)]:
            raise SolverError(f"{wrong_cut[0]} is no configuration of {len(self.layers)} layers")


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, offsets included; ``None`` and infinity are no bounds."""

    latency_s: float | None = None
    memory_bytes: float | None = None
    storage_bytes: float | None = None
    divergence: float | None = None

    def given(self) -> dict[Objective, float]:
        """The bounds that there are, by the quantity they hold for."""
        bounds = {each: getattr(self, FIELDS[each]) for each in OBJECTIVES}
        return {each: bound for each, bound in bounds.items() if bound not in (None, inf)}

    def without(self, quantity: Objective) -> Limits:
        """The same with one bound dropped."""
        return replace(self, **{FIELDS[quantity]: None})

    def stretched(self, share: float) -> Limits:
        """Every bound wider by this share."""
        return Limits(**{FIELDS[name]: bound * (1 + share) for name, bound in self.given().items()})

    def violation(self, totals: Totals) -> float:
        """The largest share by which a bound is exceeded; not below 0, infinite beyond a bound of 0."""
        given = self.given().items()
        return max([0.0, *(_excess(totals.of(name), bound) for name, bound in given)])

    def allow(self, totals: Totals) -> bool:
        """Whether every bound holds, compared exactly."""
        return all(totals.of(each) <= bound for each, bound in self.given().items())


@dataclass(frozen=True, slots=True)
class Totals:
    """What a configuration costs, offsets included."""

    latency_s: float
    memory_bytes: int
    """Peak: all parameters and the largest live set."""
    storage_bytes: int
    divergence: float

    def of(self, quantity: Objective) -> float:
        """One of the four."""
        return float(getattr(self, FIELDS[quantity]))


@dataclass(frozen=True, slots=True)
class Solution:
    """A configuration that holds the limits."""

    choice: tuple[int, ...]
    """Index of the option in each layer."""
    variants: tuple[str, ...]
    totals: Totals
    gap: float
    """Relative distance to the proven optimum; 0 unless time ran out."""


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No configuration holds all bounds."""

    nearest: Mapping[str, float | None]
    """For each bound, by quantity, the nearest feasible value with the others kept; ``None``: no value is."""
    best_effort: Solution | None
    """Its largest relative violation is the least; ``None``: forms and cuts leave no configuration."""
    stretch: float | None = None
    """That violation: the least share by which all bounds at once have to be wider."""


def _excess(cost: float, bound: float) -> float:
    if bound == 0:
        return inf if cost > 0 else 0.0
    return cost / bound - 1


def totals_of(problem: Problem, choice: Sequence[int]) -> Totals:
    """What the configuration with these option indices costs."""
    options = [layer[index] for layer, index in zip(problem.layers, choice, strict=True)]
    return Totals(
        latency_s=fsum([problem.latency_offset_s, *(each.latency_s for each in options)]),
        memory_bytes=problem.memory_offset_bytes
        + peak_bytes([each.memory for each in options], problem.held),
        storage_bytes=problem.storage_offset_bytes + sum(each.storage_bytes for each in options),
        divergence=fsum(each.divergence for each in options),
    )
