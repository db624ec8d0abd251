"""Staircases: what is least of one cost where at most so much of another is left, from each state to the end.

Solving backwards for two costs at once keeps the pairs that no other one beats in both (Bellman; Warburton
1987, "Approximation of Pareto optima in multiple-objective, shortest-path problems"). The first state's are
the frontier of the problem. As a bound on a sum of several constraints (a surrogate relaxation, Glover 1975)
they tell what a path costs at least from where it is, integers and all. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cluster.stages import Floats, Indices, Stage

MOST_STEPS = 400
"""Of a staircase that is only a bound: it is coarsened to its lower corners."""
ROUNDING = 1e-9
"""Of the largest sum: more than rounding errors of adding up may be, and too little to matter to a bound."""


@dataclass(frozen=True, slots=True, eq=False)
class Staircase:
    """The steps of all states between two layers, by rising ``x`` and falling ``y`` in each state."""

    x: Floats
    y: Floats
    first: Indices
    """``(states + 1,)``: where the steps of each state start."""
    move: Indices
    """Of the stage behind, by which a step goes on; of no meaning where it was coarsened."""
    next: Indices
    """The step that it goes on to."""
    keys: Floats
    """State and ``x`` in one rising number."""
    scale: float

    def least(self, state: Indices, room: Floats) -> Floats:
        """The least ``y`` with no more than ``room`` of x, for each; infinite where there is none."""
        if not len(self.x):
            return np.full(len(state), np.inf)
        clipped = np.clip(room / self.scale + ROUNDING, -0.25, 0.75)
        found = np.searchsorted(self.keys, state + clipped, side="right") - 1
        return np.where(found >= self.first[state], self.y[np.maximum(found, 0)], np.inf)


def staircases(
    stages: Sequence[Stage], x: Sequence[Floats], y: Sequence[Floats], most: int | None = MOST_STEPS
) -> list[Staircase]:
    """Before each stage, and behind the last one; ``x`` and ``y`` are what each stage's moves cost.

    Exact, with the way to go, where ``most`` is ``None``.
    """
    scale = 2 * sum(float(each.max(initial=0.0)) for each in x) or 1.0
    ends = stages[-1].states_after
    found = [_staircase(np.zeros(ends), np.zeros(ends), np.arange(ends + 1), NONE, NONE, scale)]
    for stage, along, up in zip(reversed(stages), reversed(x), reversed(y), strict=True):
        found.append(_before(stage, along, up, found[-1], most))
    return found[::-1]


def undominated_pairs(x: Floats, y: Floats, first: Indices) -> Indices:
    """Indices of what nothing else of its group beats or equals in both, by group and rising ``x``.

    Groups lie one behind the other; ``first`` tells where each starts, and where the last one ends.
    """
    kept = [
        begin + _undominated(x[begin:end], y[begin:end])
        for begin, end in pairwise(first.tolist())
        if begin < end
    ]
    return np.concatenate(kept) if kept else NONE


def _undominated(x: Floats, y: Floats) -> Indices:
    order = np.argsort(x)
    least = np.minimum.accumulate(y[order])
    lower = np.concatenate([order[:1], order[1:][np.diff(least) < 0]])
    # Of equal x the last is the lowest.
    return np.asarray(lower[np.append(np.diff(x[lower]) > 0, True)])


NONE = np.empty(0, dtype=np.intp)


def _before(stage: Stage, x: Floats, y: Floats, behind: Staircase, most: int | None) -> Staircase:
    pair = stage.before * stage.states_after + stage.after
    order = np.argsort(pair, kind="stable")
    runs = np.flatnonzero(np.diff(pair[order], prepend=-1, append=-1))
    moves = order[undominated_pairs(x[order], y[order], runs)]
    counts = np.diff(behind.first)[stage.after[moves]]
    step, move = _ranges(behind.first[stage.after[moves]], counts), np.repeat(moves, counts)
    along, up = x[move] + behind.x[step], y[move] + behind.y[step]
    states = np.arange(len(stage.first))
    kept = undominated_pairs(along, up, np.searchsorted(stage.before[move], states))
    first = np.searchsorted(stage.before[move[kept]], states)
    if most is None:
        return _staircase(along[kept], up[kept], first, move[kept], step[kept], behind.scale)
    along, up, first = _coarsened(along[kept], up[kept], first, most)
    return _staircase(along, up, first, NONE, NONE, behind.scale)


def _coarsened(x: Floats, y: Floats, first: Indices, most: int) -> tuple[Floats, Floats, Indices]:
    """Neighbours become their lower corner, until no state has more than ``most``."""
    if len(x) <= most:
        return x, y, first
    starts, ends, counts = [], [], [0]
    for begin, end in pairwise(first.tolist()):
        cuts = np.linspace(begin, end, min(most, end - begin) + 1).astype(np.intp)
        starts.append(cuts[:-1])
        ends.append(cuts[1:] - 1)
        counts.append(len(cuts) - 1)
    return x[np.concatenate(starts)], y[np.concatenate(ends)], np.cumsum(counts)


def _staircase(x: Floats, y: Floats, first: Indices, move: Indices, step: Indices, scale: float) -> Staircase:
    state = np.repeat(np.arange(len(first) - 1), np.diff(first))
    return Staircase(x, y, first, move, step, state + x / scale, scale)


def _ranges(first: Indices, counts: Indices) -> Indices:
    """``first[i], first[i] + 1, ...``, as many as ``counts[i]``, for each i in turn."""
    ends = np.cumsum(counts)
    return np.asarray(np.arange(int(counts.sum())) + np.repeat(first - (ends - counts), counts))
