"""The best path under several bounds at once: labels from stage to stage, cut off by staircases. Pure.

A label is a way to a state with all that it has cost. It is dropped where another one at the same state is no
dearer in anything, and where its cost with the least that a staircase leaves it to pay exceeds a threshold.
The threshold starts at what the staircases say of the whole problem and rises until a path is found: nothing
that costs less has been dropped, so that path is proven best (iterative deepening A*, Korf 1985, on the
labels of resource-constrained paths, Dumitrescu and Boland 2003).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.stages import PARAMETERS, Floats, Indices, Stage
from cluster.staircase import Staircase

MOST_LABELS = 4000
"""After one stage; more, and the staircases at hand are too weak a bound."""
GROWN = 8
"""Times as many may there be before those are dropped that another one beats."""
COMPARED = 400
"""Labels that others are compared with at a time."""
DEAD_END = 1e300
"""Bytes that nobody has; infinity would make NaN of a difference."""


class TooManyLabelsError(RuntimeError):
    """The bounds at hand rule too little out."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is to be least, and how much there may be of everything."""

    column: int
    """Of what adds up: to be least, with the largest live set on top where ``peak``."""
    peak: bool
    room: Floats
    """``(4,)``: bounds without offsets, infinite where there is none."""
    memory: float
    """Bound on parameters with the largest live set."""
    cuts: tuple[tuple[int, ...], ...] = ()
    """Paths that are ruled out, an option a layer."""


class Guide(Protocol):
    """Something that tells what a path costs at least."""

    def least(self, layer: int, state: Indices, room: Floats) -> Floats:
        """Of the objective, from each state before a layer, with so much room, ``(labels, 4)``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Stairs:
    """A staircase between each two layers, over a weighted sum of what is bounded."""

    weights: Floats
    """``(4,)``, not below 0."""
    steps: Sequence[Staircase]

    def least(self, layer: int, state: Indices, room: Floats) -> Floats:
        """As the staircase says."""
        used = self.weights > 0
        return self.steps[layer].least(state, room[:, used] @ self.weights[used])


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Ways to the states behind a layer."""

    state: Indices
    costs: Floats
    """``(labels, 4)``."""
    live: Floats
    """``(labels,)``: the largest live set, at least what is still to come."""
    cut: NDArray[np.bool_]
    """``(labels, cuts)``: agrees so far with a path that is ruled out."""
    parent: Indices
    move: Indices

    def __getitem__(self, kept: Indices | NDArray[np.bool_]) -> Labels:
        return Labels(
            self.state[kept],
            self.costs[kept],
            self.live[kept],
            self.cut[kept],
            self.parent[kept],
            self.move[kept],
        )


@dataclass(frozen=True, slots=True, eq=False)
class PathSearch:
    """One question to the stages, with everything that helps to answer it."""

    stages: Sequence[Stage]
    floors: Sequence[Floats]
    """Between each two layers, by state: the least that the largest live set behind it can be."""
    guides: Sequence[Guide]
    question: Question

    def root(self) -> float:
        """What every path costs at least."""
        return float(self._least(self._start(), 0)[0])

    def paths(self, threshold: float) -> list[tuple[float, float, tuple[int, ...]]]:
        """Cost, latency and options of all undominated paths that cost no more than the threshold.

        Raises ``TooManyLabelsError``.
        """
        levels = [self._start()]
        for layer in range(len(self.stages)):
            grown, least = self._grown(levels[-1], layer, threshold)
            kept = np.flatnonzero(least <= threshold)
            if len(kept) > GROWN * MOST_LABELS:
                raise TooManyLabelsError
            grown = grown[kept[np.argsort(least[kept], kind="stable")]]
            levels.append(grown[_undominated(grown)])
            if len(levels[-1].state) > MOST_LABELS:
                raise TooManyLabelsError
        return self._ends(levels)

    def best_of(self, width: int) -> tuple[list[tuple[float, float, tuple[int, ...]]], float]:
        """Paths as above, with so many labels after each layer, and what any other path costs at least."""
        levels, others = [self._start()], np.inf
        for layer in range(len(self.stages)):
            grown, least = self._grown(levels[-1], layer, np.inf)
            order = np.argsort(least, kind="stable")[: np.isfinite(least).sum()]
            near = order[: GROWN * width]
            kept = near[_undominated(grown[near])]
            for dropped in (order[len(near) :], kept[width:]):
                others = min(others, float(least[dropped].min(initial=np.inf)))
            levels.append(grown[kept[:width]])
        return self._ends(levels), others

    def _ends(self, levels: Sequence[Labels]) -> list[tuple[float, float, tuple[int, ...]]]:
        last = levels[-1]
        costs = self._spent(last)
        open_ends = [each for each in range(len(costs)) if not last.cut[each].any()]
        return [
            (float(costs[each]), float(last.costs[each, 0]), self._path(levels, each)) for each in open_ends
        ]

    def _start(self) -> Labels:
        zero, cuts = np.zeros(1, dtype=np.intp), np.ones((1, len(self.question.cuts)), dtype=bool)
        return Labels(zero, np.zeros((1, 4)), self.floors[0][:1], cuts, zero, zero)

    def _grown(self, labels: Labels, layer: int, threshold: float) -> tuple[Labels, Floats]:
        """Every label with every move, and what a path through it costs at least."""
        stage = self.stages[layer]
        counts = np.diff(stage.first)[labels.state]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        parent = np.repeat(np.arange(len(labels.state)), counts)
        move = np.arange(total) + np.repeat(stage.first[labels.state] - (ends - counts), counts)
        state = stage.after[move]
        live = np.maximum(np.maximum(labels.live[parent], stage.live[move]), self.floors[layer + 1][state])
        cut = labels.cut[parent]
        if self.question.cuts:
            cut = cut & (stage.option[move][:, None] == [each[layer] for each in self.question.cuts])
        grown = Labels(state, labels.costs[parent] + stage.costs[move], live, cut, parent, move)
        return grown, self._least(grown, layer + 1, threshold)

    def _spent(self, labels: Labels) -> Floats:
        spent = labels.costs[:, self.question.column]
        return spent + labels.live if self.question.peak else spent

    def _least(self, labels: Labels, layer: int, threshold: float = np.inf) -> Floats:
        """What a path through each label costs at least."""
        room = self.question.room - labels.costs
        memory = self.question.memory - labels.live - labels.costs[:, PARAMETERS]
        room[:, PARAMETERS] = np.minimum(room[:, PARAMETERS], memory)
        spent = self._spent(labels)
        least = np.where((room >= 0).all(axis=1), spent, np.inf)
        for guide in self.guides:
            rest = np.flatnonzero(least <= threshold)
            more = guide.least(layer, labels.state[rest], room[rest])
            least[rest] = np.maximum(least[rest], spent[rest] + more)
        return least

    def _path(self, levels: Sequence[Labels], label: int) -> tuple[int, ...]:
        return tuple(reversed(list(self._backwards(levels, label))))

    def _backwards(self, levels: Sequence[Labels], label: int) -> Iterator[int]:
        for labels, stage in zip(reversed(levels[1:]), reversed(self.stages), strict=True):
            yield int(stage.option[labels.move[label]])
            label = int(labels.parent[label])


def live_floors(stages: Sequence[Stage]) -> list[Floats]:
    """Between each two layers, by state: the least that the largest live set behind it can be."""
    floors = [np.zeros(stages[-1].states_after)]
    for stage in reversed(stages):
        floor = np.full(len(stage.first) - 1, DEAD_END)
        np.minimum.at(floor, stage.before, np.maximum(stage.live, floors[-1][stage.after]))
        floors.append(floor)
    return floors[::-1]


def _undominated(labels: Labels) -> Indices:
    """Indices of labels that no other one at the same state is as cheap as in everything.

    Of equals the first stays. What agrees with a path that is ruled out beats nothing: it may lead nowhere.
    """
    costs = np.column_stack([labels.state, labels.costs, labels.live])
    free: NDArray[np.bool_] = ~np.asarray(labels.cut.any(axis=1))
    rest, kept = np.arange(len(costs)), []
    while len(rest):
        block, rest = rest[:COMPARED], rest[COMPARED:]
        beaten = _beats(costs[block], costs[block]) & free[block][:, None]
        block = block[~(beaten & ~np.tril(beaten & beaten.T)).any(axis=0)]
        kept.append(block)
        rest = rest[~_beats(costs[block[free[block]]], costs[rest]).any(axis=0)]
    return np.concatenate(kept) if kept else rest


def _beats(these: Floats, those: Floats) -> NDArray[np.bool_]:
    """``(these, those)``: at the same state, which comes first, and as cheap in everything."""
    beats = np.equal.outer(these[:, 0], those[:, 0])
    for column in range(1, these.shape[1]):
        beats &= np.less_equal.outer(these[:, column], those[:, column])
    return np.asarray(beats)
