"""Configurations as paths: the exact answer to one question after another about the same problem. Pure.

What is prepared once, staircases above all, serves every bound that is asked for later. Where too many
tensors are open at once or the staircases rule too little out, ``NotAnsweredError`` sends the question to the
integer program, and so does a cost that equals its bound but for rounding: there it is compared exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from time import monotonic

import numpy as np

from cluster.dominance import undominated
from cluster.multipliers import Prices, best_prices, repriced
from cluster.path_search import Guide, PathSearch, Question, Stairs, TooManyLabelsError, live_floors
from cluster.problem import FIELDS, Limits, Objective, Problem, Solution, totals_of
from cluster.stages import (
    DIVERGENCE,
    LATENCY,
    PARAMETERS,
    STORAGE,
    Floats,
    Indices,
    Walk,
    walk_of,
)
from cluster.staircase import Staircase, staircases

COLUMNS: dict[Objective, int] = {
    "latency": LATENCY,
    "memory": PARAMETERS,
    "storage": STORAGE,
    "divergence": DIVERGENCE,
}
TIE = 1e-9
"""Costs that differ by less than this share of the dearest configuration are a tie; lower latency wins."""
ROUNDING = 1e-12
"""Of a bound: what adding up in another order may change."""
RATIOS = (3, 10)
"""Of the weights of bounded costs, in units of what the best configuration takes without bounds."""
FIRST = 12
"""Labels after each layer that a first answer is looked for with."""
WIDTHS = (24, 100, 400)
"""Labels after each layer where prices guide the search: as few as are enough."""
LIVE_RANGES = 9
"""That the largest live set is looked for in, one by one, where memory is bounded."""
Weights = tuple[float, ...]
Path = tuple[int, ...]


class NotAnsweredError(RuntimeError):
    """The paths do not tell; the integer program does."""


class PathProgram:
    """The walk through a problem's layers with everything that was ever prepared for it."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._walk = _walk(problem)
        self._stages = self._walk.stages([undominated(each, frozenset()) for each in problem.layers])
        self._searched = self._stages
        self._floors = live_floors(self._stages)
        self._stairs: dict[tuple[Weights, int], list[Staircase]] = {}
        self._scales: dict[int, Floats] = {}

    def without(self, problem: Problem) -> PathProgram:
        """The same for a problem that differs in what is forbidden alone; shares what is prepared."""
        other = object.__new__(PathProgram)
        other.__dict__ |= self.__dict__
        other._problem = problem
        named = [frozenset(cut[layer] for cut in problem.forbidden) for layer in range(len(problem.layers))]
        kept = [undominated(layer, cut) for layer, cut in zip(problem.layers, named, strict=True)]
        other._searched = self._walk.stages(kept)
        return other

    def minimise(
        self, objective: Objective, limits: Limits, time_limit_s: float, gap: float = 0.0
    ) -> Solution | None:
        """The best configuration within the limits, or ``None``; raises ``NotAnsweredError``.

        Where a ``gap`` is allowed, the search ends as soon as an answer is proven to be that near to the
        best, and at the latest when it has become wide: the answer tells how near it is.
        """
        question = self._question(objective, limits)
        if gap and (near := self._near(question, limits, gap)):
            return near
        deadline, tie = monotonic() + time_limit_s, TIE * self._most(objective)
        for guides in self._guides(question):
            search = PathSearch(self._searched, self._floors, guides, question)
            try:
                return self._deepen(search, objective, limits, tie, deadline)
            except TooManyLabelsError:
                continue
        # A deep network: prices bound it better, and few labels may be enough.
        if (near := self._near(question, limits, gap)) and near.gap == 0:
            return near
        raise NotAnsweredError

    def least_violation(
        self, limits: Limits, start: Sequence[Solution], time_limit_s: float
    ) -> Solution | None:
        """The configuration whose largest violation, relative to its bound, is the least; ties as ever.

        All bounds are stretched by the same share, which is halved in between until nothing smaller is left;
        ``start`` are configurations to begin with. Raises ``NotAnsweredError``.
        """
        best, low = min(start, key=lambda each: self.violation(limits, each), default=None), 0.0
        best = best or self.minimise("latency", Limits(), time_limit_s)
        while best is not None and (high := self.violation(limits, best)) > low * (1 + TIE) + ROUNDING:
            # Mostly nothing is a little better; that is asked first, and proves it.
            for share in (high * (1 - TIE) - ROUNDING, (low + high) / 2):
                found = self.minimise("latency", self._stretched(limits, share), time_limit_s)
                if found is None and share > (low + high) / 2:
                    return self.minimise("latency", self._stretched(limits, high + ROUNDING), time_limit_s)
                best, low = (found, low) if found else (best, max(low, share))
        return best

    def violation(self, limits: Limits, solution: Solution) -> float:
        """The largest share by which a configuration exceeds a bound; not below 0."""
        given = limits.given().items()
        return max(
            [0.0, *((solution.totals.of(name) - bound) / self._whole(name, bound) for name, bound in given)]
        )

    def _stretched(self, limits: Limits, share: float) -> Limits:
        wider = {
            FIELDS[name]: bound + share * self._whole(name, bound) for name, bound in limits.given().items()
        }
        return Limits(**wider)

    def _whole(self, name: Objective, bound: float) -> float:
        return bound or self._most(name) or 1.0

    def _near(self, question: Question, limits: Limits, gap: float) -> Solution | None:
        """The best that few labels find: guided by prices, and by staircases too where that is not enough."""
        parts = sorted(self._parts(question), key=lambda each: each.root())
        best: tuple[float, Path] | None = None
        for width in WIDTHS:
            others = [np.inf]
            for part in parts:
                if best is not None and part.root() >= best[0]:
                    continue
                guided = part if width == WIDTHS[0] else self._guided(part)
                paths, other = guided.best_of(width)
                others.append(other)
                found = [(cost, path) for cost, _, path in paths]
                best = min(found if best is None else [best, *found], default=None)
            if best is None:
                continue
            proven = max(0.0, 1 - min(others) / best[0]) if best[0] > 0 else 0.0
            if proven <= gap or width == WIDTHS[-1]:
                return replace(self._solution(best[1], limits), gap=proven)
        return None

    def _parts(self, question: Question) -> Iterator[PathSearch]:
        """The question with the largest live set between two values, for each two: what is left is a sum."""
        whole = self._priced(PathSearch(self._searched, self._floors, [], question))
        for low, high in self._live_ranges(question):
            stages = [each.below(high) for each in self._searched]
            floors = [np.maximum(each, low) for each in self._floors]
            yield PathSearch(stages, floors, repriced(whole, stages, question.column), question)

    def _guided(self, part: PathSearch) -> PathSearch:
        """With prices of its own, and staircases."""
        return replace(part, guides=[*self._priced(part), *next(self._guides(part.question))])

    def _priced(self, part: PathSearch) -> list[Prices]:
        question, room = part.question, part.question.room.copy()
        room[PARAMETERS] = min(room[PARAMETERS], question.memory - part.floors[0][0])
        bounded = [each for each in self._bounded(question) if each != question.column]
        return best_prices(part.stages, question.column, room, bounded, self._scale(question.column))

    def _live_ranges(self, question: Question) -> list[tuple[float, float]]:
        least = float(self._floors[0][0])
        if question.memory == np.inf and not question.peak:
            return [(least, np.inf)]
        live = np.unique(np.concatenate([each.live for each in self._searched]))
        live = live[(live > least) & (live <= question.memory)]
        cuts = live[np.linspace(0, len(live) - 1, min(LIVE_RANGES, len(live))).astype(np.intp)].tolist()
        return list(pairwise([least, *cuts])) or [(least, np.inf)]

    def _deepen(
        self, search: PathSearch, objective: Objective, limits: Limits, tie: float, deadline: float
    ) -> Solution | None:
        """Up to what a few labels find, mostly the best already; step by step where they find nothing."""
        root, most = search.root(), 2 * self._most(objective)
        found, _ = search.best_of(FIRST) if root <= most else ([], np.inf)
        step = max(1e-3 * root, 4 * tie) or 1.0
        threshold = min((cost for cost, _, _ in found), default=root) + 2 * tie
        while root <= most:
            if monotonic() > deadline:
                raise NotAnsweredError
            if paths := search.paths(threshold):
                best = min(cost for cost, _, _ in paths)
                if best + tie > threshold:
                    paths = search.paths(best + tie)
                near = [(latency, path) for cost, latency, path in paths if cost <= best + tie]
                return self._solution(min(near)[1], limits)
            if threshold > most:
                return None
            threshold, step = root + step, 4 * step
        return None

    def pairs(self, x: Objective, y: Objective, resolution: float) -> list[Solution]:
        """What no other configuration beats in both of two costs that add up, by rising ``x``; all of them.

        With a ``resolution`` only the best below each bound on x that is a multiple of so much of its range.
        """
        column, other = COLUMNS[x], COLUMNS[y]
        stairs = staircases(
            self._stages,
            [each.costs[:, column] for each in self._stages],
            [each.costs[:, other] for each in self._stages],
            most=None,
        )
        steps = _thinned(stairs[0].x, resolution)
        choices = [
            stage.option[move] for stage, move in zip(self._stages, follow(stairs, steps), strict=True)
        ]
        return [self._solution(tuple(each), Limits()) for each in np.transpose(choices).tolist()]

    def _solution(self, choice: tuple[int, ...], limits: Limits) -> Solution:
        layers = self._problem.layers
        variants = tuple(layer[index].variant for layer, index in zip(layers, choice, strict=True))
        totals = totals_of(self._problem, choice)
        if not limits.allow(totals):
            raise NotAnsweredError
        return Solution(choice, variants, totals, 0.0)

    def _question(self, objective: Objective, limits: Limits) -> Question:
        problem, bounds = (
            self._problem,
            {name: bound * (1 + ROUNDING) for name, bound in limits.given().items()},
        )
        room = np.full(4, np.inf)
        room[LATENCY] = bounds.get("latency", np.inf) - problem.latency_offset_s
        room[STORAGE] = bounds.get("storage", np.inf) - problem.storage_offset_bytes
        room[DIVERGENCE] = bounds.get("divergence", np.inf)
        if self._stores_parameters():
            room[PARAMETERS] = room[STORAGE]
        memory = bounds.get("memory", np.inf) - problem.memory_offset_bytes
        return Question(COLUMNS[objective], objective == "memory", room, memory, tuple(self._cuts()))

    def _cuts(self) -> Iterator[tuple[int, ...]]:
        index = [{option.variant: at for at, option in enumerate(layer)} for layer in self._problem.layers]
        for cut in self._problem.forbidden:
            path = [at.get(variant, -1) for at, variant in zip(index, cut, strict=True)]
            if min(path) >= 0:
                yield tuple(path)

    def _stores_parameters(self) -> bool:
        return all((each.costs[:, STORAGE] == each.costs[:, PARAMETERS]).all() for each in self._stages)

    def _most(self, objective: Objective) -> float:
        """What no configuration costs more than, offsets aside."""
        column = COLUMNS[objective]
        live = sum(each.live.max(initial=0.0) for each in self._searched) if objective == "memory" else 0.0
        return float(sum(each.costs[:, column].max(initial=0.0) for each in self._searched) + live)

    def _guides(self, question: Question) -> Iterator[list[Guide]]:
        """Few at first, then as many as there are; each list holds those before it."""
        bounded = [each for each in self._bounded(question) if each != question.column]
        scale = self._scale(question.column)
        guides: list[Guide] = []
        for several in _mixes(len(bounded)):
            for mix in several:
                weights = np.zeros(4)
                weights[bounded] = np.array(mix) / scale[bounded]
                guides.append(Stairs(weights, self._stairs_of(weights, question.column)))
            yield list(guides)

    def _bounded(self, question: Question) -> list[int]:
        room = question.room.copy()
        room[PARAMETERS] = min(room[PARAMETERS], question.memory)
        if self._stores_parameters():
            room[STORAGE] = np.inf
        return np.flatnonzero(np.isfinite(room)).tolist()

    def _stairs_of(self, weights: Floats, column: int) -> list[Staircase]:
        key = tuple(weights.tolist()), column
        if key not in self._stairs:
            along = [each.costs @ weights for each in self._stages]
            self._stairs[key] = staircases(
                self._stages, along, [each.costs[:, column] for each in self._stages]
            )
        return self._stairs[key]

    def _scale(self, column: int) -> Floats:
        """What the configuration takes that has the least of this without bounds, ``(4,)``; above 0."""
        if column not in self._scales:
            least = [each.costs[:, column] for each in self._stages]
            stairs = staircases(self._stages, [0 * each for each in least], least, most=None)
            moves = follow(stairs, np.arange(len(stairs[0].x))[:1])
            spent = sum(
                stage.costs[move].sum(axis=0) for stage, move in zip(self._stages, moves, strict=True)
            )
            self._scales[column] = np.where(spent > 0, spent, 1.0)
        return self._scales[column]


def follow(stairs: Sequence[Staircase], steps: Indices) -> list[Indices]:
    """The moves, stage by stage, of the paths that start with these steps of an exact staircase."""
    moves = []
    for each in stairs[:-1]:
        moves.append(each.move[steps])
        steps = each.next[steps]
    return moves


def _thinned(x: Floats, resolution: float) -> Indices:
    """Of rising values the last one below each multiple of a share of their range, each once."""
    if resolution <= 0 or len(x) < 2:
        return np.arange(len(x))
    bounds = np.linspace(x[0], x[-1], round(1 / resolution) + 1)
    # The last step of a range may miss its end by a rounding.
    return np.unique(np.searchsorted(x, bounds * (1 + ROUNDING), side="right") - 1)


def _mixes(count: int) -> Iterator[list[tuple[int, ...]]]:
    """Weights of so many bounded costs, those that help most first."""
    if count < 2:
        yield [(1,) * count]
        return
    yield [*(tuple(int(at == each) for at in range(count)) for each in range(count)), (1,) * count]
    for ratio in RATIOS:
        yield [mix for mix in product((1, ratio), repeat=count) if len(set(mix)) > 1]


def _walk(problem: Problem) -> Walk:
    walk = walk_of(problem)
    if walk is None:
        raise NotAnsweredError
    return walk
