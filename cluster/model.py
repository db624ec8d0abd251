"""What is known of one device, and the solver's problem that follows from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite

from cluster.joint_loss import JointLoss
from cluster.problem import Option, Problem
from cluster.selection import (
    Selection,
    candidate_latency_s,
    candidates_of,
    fastest_requests,
    places_of,
    requests_of,
)
from cluster.table import Candidate, Table
from cost_model import end_to_end
from cost_model.accuracy import AccuracyModel
from cost_model.end_to_end import EndToEnd
from cost_model.in_context import InContext, Placed
from cost_model.memory import LayerMemory, peak_bytes
from runtime.configuration import Costs


@dataclass(frozen=True, slots=True)
class Run:
    """A whole configuration that ran on the device, verified in every respect."""

    selection: Selection
    costs: Costs
    """Latency is the upper confidence bound of the stated percentile; accuracy is on evaluation samples."""
    exact: Costs
    """The same of the exact configuration, timed interleaved in the same session."""
    spread: float = 0.0
    """By which share its sessions differ: what another session may take more."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that is known when a decision for one device is taken."""

    latency_s: Mapping[str, float]
    """Request to seconds, measured or else predicted; what fails on the device is missing."""
    settled: frozenset[str]
    """Requests that were measured or are known to fail."""
    at_best_s: Mapping[str, float]
    """Request to what it may take at best, of those that are predicted."""
    divergence: Mapping[tuple[str, str], float]
    """(Layer, approximation) to the divergence from the exact network's output."""
    joint: Mapping[tuple[str, ...], JointLoss]
    """Variants of a whole configuration, the exact one's included, to its loss on calibration samples."""
    runs: tuple[Run, ...]
    """The exact configuration's first, the latest last."""
    accuracy: AccuracyModel
    context: InContext | None = None
    """What kernels take at their places; without any readings they take what they take alone."""

    def measured(self) -> Knowledge:
        """Without predictions."""
        measured_s = {key: each for key, each in self.latency_s.items() if key in self.settled}
        return replace(self, latency_s=measured_s, at_best_s={})

    def run_of(self, selection: Selection) -> Run | None:
        """The latest run of exactly this selection."""
        return next((run for run in reversed(self.runs) if run.selection == selection), None)

    def run_of_variants(self, variants: tuple[str, ...]) -> Run | None:
        """The latest run of these variants, with whatever tiles."""
        return next((run for run in reversed(self.runs) if run.selection.variants == variants), None)


def problem_of(table: Table, knowledge: Knowledge) -> Problem:
    """The choice as the solver wants it, corrected by what verified runs have shown.

    Kernels that fail on the device are left out.
    """
    correction, placed = end_to_end_of(table, knowledge), _usually_placed(table, knowledge)
    return Problem(
        layers=tuple(
            _options(table, candidates, knowledge, placed, correction.scale) for candidates in table.layers
        ),
        edges=table.edges,
        held=table.held,
        latency_offset_s=correction.overhead_s,
        memory_offset_bytes=memory_offset_bytes(table, knowledge),
        storage_offset_bytes=storage_offset_bytes(table, knowledge),
    )


def end_to_end_of(table: Table, knowledge: Knowledge) -> EndToEnd:
    """From the sum of kernels to the verified latency percentile, under the conditions of the first run.

    Each run is scaled by what the exact configuration beside it took: a device that was slower that day says
    nothing about the configuration.
    """
    observations = [
        end_to_end.Observation(
            network_s(table, knowledge, run.selection),
            run.costs.latency_s * knowledge.runs[0].exact.latency_s / run.exact.latency_s,
        )
        for run in knowledge.runs
        if all(request in knowledge.latency_s for request in requests_of(table, run.selection))
    ]
    if knowledge.context is not None:
        return EndToEnd.in_context(observations, knowledge.context.rest_s, cautious=True)
    return EndToEnd.fit(observations)


def network_s(table: Table, knowledge: Knowledge, selection: Selection) -> float:
    """Sum of what the selection's kernels take, each with its own tile and at its place."""
    placed = placed_in(table, knowledge, selection)
    return sum(_placed_s(table, knowledge, placed, place) for place in places_of(table, selection))


def placed_in(table: Table, knowledge: Knowledge, selection: Selection) -> Placed | None:
    """What kernels take in configurations as large as this one; ``None`` where nothing was read."""
    if knowledge.context is None:
        return None
    return knowledge.context.at(footprint_bytes(table, requests_of(table, selection)))


def footprint_bytes(table: Table, requests: Iterable[str]) -> int:
    """Weights of a configuration's kernels: whether they fit into a cache decides how cold they are."""
    return sum(table.samples[each].work.parameter_bytes for each in requests)


def variant_s(table: Table, knowledge: Knowledge, candidate: Candidate, placed: Placed | None) -> float:
    """Seconds of a variant with its fastest tiles, at its place; infinite where a kernel does not work."""
    alone_s = candidate_latency_s(candidate, knowledge.latency_s)
    if not isfinite(alone_s):
        return alone_s
    requests = fastest_requests(candidate, knowledge.latency_s)
    return sum(_placed_s(table, knowledge, placed, (candidate.layer, each)) for each in requests)


def _usually_placed(table: Table, knowledge: Knowledge) -> Placed | None:
    """In configurations as large as the latest that ran, which what is tried next is close to."""
    if knowledge.runs:
        return placed_in(table, knowledge, knowledge.runs[-1].selection)
    return None if knowledge.context is None else knowledge.context.at(knowledge.context.usual_bytes)


def _placed_s(table: Table, knowledge: Knowledge, placed: Placed | None, place: tuple[str, str]) -> float:
    request = place[1]
    alone_s = knowledge.latency_s[request]
    if placed is None:
        return alone_s
    return placed.seconds(place, alone_s, table.samples[request].work.parameter_bytes)


def memory_offset_bytes(table: Table, knowledge: Knowledge) -> int:
    """Peak beyond parameters and live set (library, executor, alignment), as the latest run showed it."""
    if not knowledge.runs:
        return 0
    run = knowledge.runs[-1]
    return run.costs.peak_bytes - planned_peak_bytes(table, run.selection)


def storage_offset_bytes(table: Table, knowledge: Knowledge) -> int:
    """Bundle beyond the parameters (library and manifest), as the latest run showed it."""
    if not knowledge.runs:
        return 0
    run = knowledge.runs[-1]
    return run.costs.storage_bytes - sum(each.parameter_bytes for each in candidates_of(table, run.selection))


def planned_peak_bytes(table: Table, selection: Selection) -> int:
    """All parameters and the largest live set."""
    layers = [
        LayerMemory(each.parameter_bytes, each.live_bytes, each.output_bytes)
        for each in candidates_of(table, selection)
    ]
    return peak_bytes(layers, table.held)


def predict(table: Table, knowledge: Knowledge, selection: Selection) -> Costs:
    """What a selection costs, from everything known but its own runs.

    A run would otherwise predict itself; the exact configuration's first one is predicted from its kernels
    alone.
    """
    own = [index for index, run in enumerate(knowledge.runs) if run.selection == selection]
    before = replace(knowledge, runs=knowledge.runs[: own[0]] if own else knowledge.runs)
    chosen = candidates_of(table, selection)
    names = {each.layer: each.key for each in chosen}
    return Costs(
        latency_s=end_to_end_of(table, before).predict_s(network_s(table, knowledge, selection)),
        peak_bytes=planned_peak_bytes(table, selection) + memory_offset_bytes(table, before),
        storage_bytes=sum(each.parameter_bytes for each in chosen) + storage_offset_bytes(table, before),
        loss_pp=knowledge.accuracy.predict_loss_pp(names),
    )


def _options(
    table: Table,
    candidates: tuple[Candidate, ...],
    knowledge: Knowledge,
    placed: Placed | None,
    scale: float,
) -> tuple[Option, ...]:
    costs = ((each, variant_s(table, knowledge, each, placed)) for each in candidates)
    return tuple(
        Option(
            layer=each.layer,
            variant=each.key,
            latency_s=scale * seconds,
            parameter_bytes=each.parameter_bytes,
            live_bytes=each.live_bytes,
            output_bytes=each.output_bytes,
            storage_bytes=each.parameter_bytes,
            divergence=knowledge.divergence[each.layer, each.approximation],
            reads=str(each.reads),
            writes=str(each.writes),
        )
        for each, seconds in costs
        if isfinite(seconds)
    )
