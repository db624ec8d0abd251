"""A choice of a variant and its tiles for every layer, and what table and measurements say of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from cluster.table import Candidate, StepChoices, Table
from runtime.configuration import Configuration

Tile = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """One variant for each layer of a table, with a tile for each of its kernels."""

    variants: tuple[str, ...]
    tiles: tuple[tuple[Tile, ...], ...]

    @property
    def key(self) -> str:
        """Content key, the same for the same choice in any run."""
        return json.dumps([self.variants, self.tiles], separators=(",", ":"))

    @classmethod
    def from_key(cls, key: str) -> Selection:
        """The selection that has this key."""
        variants, tiles = json.loads(key)
        return cls(tuple(variants), tuple(tuple(tuple(tile) for tile in layer) for layer in tiles))


def selection_of(configuration: Configuration) -> Selection:
    """What a configuration chose."""
    return Selection(
        tuple(each.variant for each in configuration.layers),
        tuple(each.tiles for each in configuration.layers),
    )


def select(candidates: Sequence[Candidate], latency_s: Mapping[str, float]) -> Selection:
    """These candidates with the fastest tile of every kernel.

    A kernel of which nothing is known gets its most promising tile.
    """
    return Selection(
        tuple(each.key for each in candidates),
        tuple(tuple(_fastest(step, latency_s)[0] for step in each.steps) for each in candidates),
    )


def selected(table: Table, variants: Sequence[str], latency_s: Mapping[str, float]) -> Selection:
    """These variants, a key for each layer, with the fastest tiles."""
    return select([table.candidate(index, key) for index, key in enumerate(variants)], latency_s)


def step_latency_s(step: StepChoices, latency_s: Mapping[str, float]) -> float:
    """Seconds of the fastest tile; infinite where no tile of the kernel works on the device."""
    return _fastest(step, latency_s)[1]


def candidate_latency_s(candidate: Candidate, latency_s: Mapping[str, float]) -> float:
    """Seconds of a variant: the sum of its kernels."""
    return sum(step_latency_s(step, latency_s) for step in candidate.steps)


def candidates_of(table: Table, selection: Selection) -> tuple[Candidate, ...]:
    """The table's rows behind a selection."""
    return tuple(table.candidate(index, key) for index, key in enumerate(selection.variants))


def kernels_s(table: Table, selection: Selection, latency_s: Mapping[str, float]) -> float:
    """Sum of the medians of the selection's kernels, with its own tiles."""
    return sum(latency_s[request] for request in requests_of(table, selection))


def requests_of(table: Table, selection: Selection) -> tuple[str, ...]:
    """What is measured of the selection: one request for each of its kernels."""
    return tuple(
        step.requests[step.tiles.index(tile)]
        for candidate, tiles in zip(candidates_of(table, selection), selection.tiles, strict=True)
        for step, tile in zip(candidate.steps, tiles, strict=True)
    )


def places_of(table: Table, selection: Selection) -> tuple[tuple[str, str], ...]:
    """Layer and request of each kernel of a selection, in the order in which they run."""
    requests = iter(requests_of(table, selection))
    names = (candidates[0].layer for candidates in table.layers)
    return tuple(
        (name, next(requests)) for name, tiles in zip(names, selection.tiles, strict=True) for _ in tiles
    )


def fastest_requests(candidate: Candidate, latency_s: Mapping[str, float]) -> tuple[str, ...]:
    """What the variant's kernels are with their fastest tiles."""
    return tuple(step.requests[step.tiles.index(_fastest(step, latency_s)[0])] for step in candidate.steps)


def unmeasured(table: Table, selection: Selection, settled: Set[str]) -> tuple[str, ...]:
    """Requests of the selection's kernels, all tiles, that have neither been measured nor failed."""
    return tuple(
        dict.fromkeys(
            request
            for candidate in candidates_of(table, selection)
            for step in candidate.steps
            for request in step.requests
            if request not in settled
        )
    )


def _fastest(step: StepChoices, latency_s: Mapping[str, float]) -> tuple[Tile, float]:
    known = [
        (latency_s[request], order, tile)
        for order, (tile, request) in enumerate(zip(step.tiles, step.requests, strict=True))
        if request in latency_s
    ]
    if not known:
        return step.tiles[0], float("inf")
    seconds, _, tile = min(known)
    return tile, seconds
