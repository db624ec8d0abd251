"""Which configurations to run with clocks, so that each wanted variant of each layer is in one of them. Pure.

A configuration reads a variant of every layer at once. Where forms leave the choice free, all variants of all
layers take as many configurations as the richest layer has variants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Final

from cluster.model import Knowledge
from cluster.selection import Selection, candidate_latency_s, requests_of, select
from cluster.table import Candidate, Table
from network.variants import Form

Pair = tuple[str, str]
"""A layer and the key of one of its variants."""
_MOST_STATES: Final = 4096
"""Of forms that lie between layers; of a network with many branches the least promising are left out."""


def covering(
    table: Table, wanted: Set[Pair], latency_s: Mapping[str, float], most: int | None = None
) -> tuple[Selection, ...]:
    """Configurations that together hold each wanted pair, the one with the most of them first.

    Every kernel has its fastest tile; variants with a kernel that works with none are left out, as are pairs
    that fit no configuration. At most ``most`` configurations. The same arguments give the same answer.
    """
    return tuple(islice(_coverings(table, wanted, latency_s), most))


def _coverings(table: Table, wanted: Set[Pair], latency_s: Mapping[str, float]) -> Iterator[Selection]:
    """One after the other: each takes a while in a large network."""
    layers = tuple(
        tuple(each for each in candidates if _works(each, latency_s)) for candidates in table.layers
    )
    left = {(each.layer, each.key) for candidates in layers for each in candidates} & wanted
    while left:
        chosen = _best(layers, table.edges, left)
        covered = {(each.layer, each.key) for each in chosen} & left
        if not covered:
            return
        left -= covered
        yield select(chosen, latency_s)


def to_profile(table: Table, knowledge: Knowledge, most: int) -> tuple[Selection, ...]:
    """Configurations that are worth a profile: of measured variants, none slower and lossier than another.

    Those with most to tell first, and at most so many that they have ``most`` different kernels, though one
    unless that is 0.
    """
    measured = {each: knowledge.latency_s[each] for each in knowledge.settled & knowledge.latency_s.keys()}
    wanted = {pair for candidates in table.layers for pair in _promising(candidates, knowledge, measured)}
    chosen: list[Selection] = []
    kernels: set[str] = set()
    for selection in _coverings(table, wanted, measured):
        kernels.update(requests_of(table, selection))
        if not most or (chosen and len(kernels) > most):
            break
        chosen.append(selection)
    return tuple(chosen)


def _promising(
    candidates: tuple[Candidate, ...], knowledge: Knowledge, measured: Mapping[str, float]
) -> set[Pair]:
    """Of variants with the same forms those that no other one beats in time and divergence."""
    best: dict[tuple[Form, Form], float] = {}
    found = set()
    costs = [
        (candidate_latency_s(each, measured), knowledge.divergence[each.layer, each.approximation], each)
        for each in candidates
        if _works(each, measured)
    ]
    for _, divergence, each in sorted(costs, key=lambda cost: cost[:2]):
        forms = each.reads, each.writes
        if divergence < best.get(forms, inf):
            best[forms] = divergence
            found.add((each.layer, each.key))
    return found


def _works(candidate: Candidate, latency_s: Mapping[str, float]) -> bool:
    return all(any(each in latency_s for each in step.requests) for step in candidate.steps)


@dataclass(frozen=True, slots=True)
class _Partial:
    """Variants of the first layers: the best that leave these forms to the layers behind them."""

    gain: int
    chosen: tuple[Candidate, ...]


def _best(
    layers: tuple[tuple[Candidate, ...], ...], edges: tuple[tuple[int, int], ...], left: Set[Pair]
) -> tuple[Candidate, ...]:
    """Neighbours that agree and hold the most of what is left, of layers with much left before others.

    Goes through the layers once and keeps, for each combination of forms that a later layer will read, the
    best way there. Empty where nothing fits.
    """
    last = dict(sorted((producer, consumer) for producer, consumer in edges))
    weight = _weights(layers, left)
    states: dict[tuple[tuple[int, Form], ...], _Partial] = {(): _Partial(0, ())}
    for index, candidates in enumerate(layers):
        sources = [producer for producer, consumer in edges if consumer == index]
        found: dict[tuple[tuple[int, Form], ...], _Partial] = {}
        for live, partial in states.items():
            forms = dict(live)
            for each in candidates:
                if any(forms[source] != each.reads for source in sources):
                    continue
                kept = tuple(item for item in live if last[item[0]] > index)
                after = (*kept, (index, each.writes)) if index in last else kept
                gain = partial.gain + (weight[index] if (each.layer, each.key) in left else 0)
                if after not in found or gain > found[after].gain:
                    found[after] = _Partial(gain, (*partial.chosen, each))
        states = _most_promising(found)
    return max(states.values(), key=lambda each: each.gain).chosen if states else ()


def _weights(layers: tuple[tuple[Candidate, ...], ...], left: Set[Pair]) -> list[int]:
    """How many variants of each layer are left: a layer with many has none to spare."""
    return [sum((each.layer, each.key) in left for each in candidates) for candidates in layers]


def _most_promising(
    states: dict[tuple[tuple[int, Form], ...], _Partial],
) -> dict[tuple[tuple[int, Form], ...], _Partial]:
    if len(states) <= _MOST_STATES:
        return states
    ordered = sorted(states.items(), key=lambda each: -each[1].gain)
    return dict(ordered[:_MOST_STATES])
