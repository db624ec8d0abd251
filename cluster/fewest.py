"""The fewest bundles with which every unit of a fleet keeps its bounds. Pure.

A bundle is a configuration compiled for a target; a unit may run bundles of several targets, and what one
costs there says that unit's own problem for the target. Candidates come from problems that several units have
in common, from all of a target's units down to each alone; which of them to build is a set cover, solved to
the optimum over the candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from cluster.problem import Limits, Option, Problem, SolverError, Totals, totals_of
from cluster.solver import Solver

GAP = 0.01
"""Of a candidate: that it keeps the bounds counts, not its last per mille of divergence."""
LEAST_LOSS = 1e-3
"""What all divergence together weighs beside one bundle: of equally few the most accurate."""


@dataclass(frozen=True, slots=True, eq=False)
class UnitChoices:
    """What one unit asks for, and what it can choose from under each target that runs on it."""

    device: str
    limits: Limits
    offers: Mapping[str, Problem]
    """By target; units that are alike may share a problem."""


@dataclass(frozen=True, slots=True)
class SharedBundle:
    """A configuration for a target, and the units that run it."""

    target: str
    variants: tuple[str, ...]
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who runs what."""

    bundles: tuple[SharedBundle, ...]
    uncovered: tuple[str, ...]
    """Units for which no candidate keeps the bounds."""
    gap: float
    """Bundles more than the fewest over all candidates, as a share of them; 0 unless time ran out."""
    candidates: int


Group = tuple[Problem, list[Limits]]
"""A problem with the bounds of all units that have it."""
NAMES = ("latency_s", "memory_bytes", "storage_bytes", "divergence")


@dataclass(frozen=True, slots=True)
class _Candidate:
    target: str
    variants: tuple[str, ...]
    divergence: float


def fewest_bundles(units: Sequence[UnitChoices], *, time_limit_s: float = 30.0) -> Sharing:
    """The fewest candidates that keep every unit's bounds; each unit gets the most accurate one it can have.

    Raises ``SolverError`` where time is up before anything is found.
    """
    targets = sorted({target for each in units for target in each.offers})
    candidates = list(dict.fromkeys(each for target in targets for each in _candidates(units, target)))
    keeps = _coverage(units, candidates)
    covered = np.asarray(keeps.any(axis=1))
    chosen, gap = _cover(keeps[covered], [each.divergence for each in candidates], time_limit_s)
    wanted = sorted(chosen, key=lambda each: candidates[each].divergence)
    given: dict[int, list[str]] = {}
    for unit, row in zip(units, keeps, strict=True):
        if (first := next((each for each in wanted if row[each]), None)) is not None:
            given.setdefault(first, []).append(unit.device)
    bundles = (
        SharedBundle(candidates[each].target, candidates[each].variants, tuple(devices))
        for each, devices in given.items()
    )
    missing = tuple(unit.device for unit, one in zip(units, covered, strict=True) if not one)
    return Sharing(tuple(bundles), missing, gap, len(candidates))


def _candidates(units: Sequence[UnitChoices], target: str) -> Iterator[_Candidate]:
    """For all of the target's units, else for halves of them, and so on down to single units."""
    groups: dict[int, Group] = {}
    for unit in units:
        if (problem := unit.offers.get(target)) is not None:
            groups.setdefault(id(problem), (problem, []))[1].append(unit.limits)
    yield from _halves(sorted(groups.values(), key=_tightness), target)


def _halves(groups: Sequence[Group], target: str) -> Iterator[_Candidate]:
    """One that does for all of them, or else those of both halves: fewer than one there cannot be."""
    shared = common([(problem, tightest(several)) for problem, several in groups])
    outcome = Solver(shared[0], gap=GAP).minimise("divergence", shared[1]) if shared else None
    if outcome is not None:
        yield _Candidate(target, outcome.variants, outcome.totals.divergence)
        return
    for part in _split(groups):
        yield from _halves(part, target)


def _split(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """Several problems in two, or one problem's units; nothing where there is one unit."""
    middle = len(groups) // 2
    if len(groups) > 1:
        return [groups[:middle], groups[middle:]]
    problem, several = groups[0]
    if len(several) < 2:
        return []
    ordered = sorted(several, key=lambda each: _tightness((problem, [each])))
    middle = len(ordered) // 2
    return [[(problem, ordered[:middle])], [(problem, ordered[middle:])]]


def _tightness(group: Group) -> float:
    """Neighbours are those that can spare about as much of their latency."""
    problem, limits = group
    dearest = sum(max(each.latency_s for each in layer) for layer in problem.layers) or 1.0
    return (tightest(limits).latency_s or inf) / dearest


def tightest(several: Sequence[Limits]) -> Limits:
    """What keeps all of these."""
    return Limits(*(min(_bound(each, name) for each in several) for name in NAMES))


def _bound(limits: Limits, name: str) -> float:
    bound = getattr(limits, name)
    return inf if bound is None else float(bound)


def common(offers: Sequence[tuple[Problem, Limits]]) -> tuple[Problem, Limits] | None:
    """A problem whose solutions keep every one of these; ``None`` where there can be none.

    A variant costs the largest share of the latency that it costs any, of what there is for layers. Problems
    of one target differ in costs alone; variants that one of them lacks are left out.
    """
    if len(offers) == 1:
        return offers[0]
    rooms = [_bound(limits, "latency_s") - problem.latency_offset_s for problem, limits in offers]
    layers = tuple(
        tuple(_worst(each, rooms) for each in _together(several))
        for several in zip(*(problem.layers for problem, _ in offers), strict=True)
    )
    memory = min(_bound(limits, "memory_bytes") - problem.memory_offset_bytes for problem, limits in offers)
    stored = min(_bound(limits, "storage_bytes") - problem.storage_offset_bytes for problem, limits in offers)
    if min(*rooms, memory, stored) <= 0 or not all(layers):
        return None
    first, lost = offers[0][0], tightest([limits for _, limits in offers]).divergence
    limits = Limits(1.0, memory, stored, lost)
    return Problem(layers, first.edges, first.held), limits


def _together(layers: Sequence[Sequence[Option]]) -> Iterator[list[Option]]:
    """The same variant of every problem, where all of them have it."""
    known = [{each.variant: each for each in layer} for layer in layers]
    for variant in known[0]:
        several = [each[variant] for each in known if variant in each]
        if len(several) == len(known):
            yield several


def _worst(several: Sequence[Option], rooms: Sequence[float]) -> Option:
    shares = (each.latency_s / room for each, room in zip(several, rooms, strict=True))
    return replace(several[0], latency_s=max(shares), divergence=max(each.divergence for each in several))


def _coverage(units: Sequence[UnitChoices], candidates: Sequence[_Candidate]) -> NDArray[np.bool_]:
    """``(units, candidates)``: whether the unit keeps its bounds with it."""
    totals: dict[tuple[int, int], Totals | None] = {}
    keeps = np.zeros((len(units), len(candidates)), dtype=bool)
    for row, unit in enumerate(units):
        for column, candidate in enumerate(candidates):
            if (problem := unit.offers.get(candidate.target)) is not None:
                key = id(problem), column
                if key not in totals:
                    totals[key] = _totals(problem, candidate.variants)
                found = totals[key]
                keeps[row, column] = found is not None and unit.limits.allow(found)
    return keeps


def _totals(problem: Problem, variants: Sequence[str]) -> Totals | None:
    """``None`` where the unit cannot run one of the variants."""
    names = [[each.variant for each in layer] for layer in problem.layers]
    if not all(variant in layer for variant, layer in zip(variants, names, strict=True)):
        return None
    return totals_of(problem, [layer.index(variant) for variant, layer in zip(variants, names, strict=True)])


def _cover(
    keeps: NDArray[np.bool_], divergences: Sequence[float], time_limit_s: float
) -> tuple[list[int], float]:
    """The fewest columns with one in every row, and the gap left."""
    if not keeps.size:
        return [], 0.0
    rows = np.unique(keeps, axis=0)
    harm = np.array(divergences) / (sum(divergences) or 1.0)
    result = milp(
        1 + LEAST_LOSS * harm,
        integrality=np.ones(keeps.shape[1]),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(rows.astype(float), 1, inf),
        options={"time_limit": time_limit_s, "mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise SolverError(f"no cover was found within {time_limit_s} s; raise the time limit")
    return np.flatnonzero(result.x > 0.5).tolist(), 0.0 if result.status == 0 else float(result.mip_gap)
