"""A problem as a walk from layer to layer that remembers only what the layers behind still ask about. Pure.

After a layer, all that matters of the choices so far but their costs is the form of every tensor that is read
later, and its bytes where it waits beside a later layer: the state. In a chain that is one form; where
tensors branch, one for each that is open. An option is a move from one state to another, so that a
configuration is a path, and whatever adds up along a path can be bounded and searched stage by stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from cluster.problem import Problem

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
LATENCY, PARAMETERS, STORAGE, DIVERGENCE = range(4)
"""Columns of what adds up along a path."""
ADDED = ("latency_s", "parameter_bytes", "storage_bytes", "divergence")
MOST_STATES = 2000
"""After one layer; where more tensors are open than that, the walk remembers too much."""

Tensor = tuple[str, int]
"""A form, and bytes where they matter, 0 elsewhere."""
State = tuple[Tensor, ...]
"""One for each open tensor, in the order of their layers."""
Kind = tuple[str, str, int]
"""Of an option: the form that it reads, the one that it writes, and its output's bytes."""


@dataclass(frozen=True, eq=False)
class Stage:
    """The moves of one layer, ordered by the state they start from."""

    option: Indices
    """``(moves,)``: index of the option in the problem's layer."""
    before: Indices
    after: Indices
    """``(moves,)``: states, by number."""
    costs: Floats
    """``(moves, 4)``: what adds up."""
    live: Floats
    """``(moves,)``: bytes alive while the layer runs, with what waits beside it."""
    first: Indices
    """``(states before + 1,)``: where the moves of each state start."""
    states_after: int

    @cached_property
    def used(self) -> Indices:
        """States from which there is a move."""
        return np.flatnonzero(np.diff(self.first))

    def below(self, live_bytes: float) -> Stage:
        """Without the moves that need more live bytes than that."""
        kept = self.live <= live_bytes
        before = self.before[kept]
        return replace(
            self,
            option=self.option[kept],
            before=before,
            after=self.after[kept],
            costs=self.costs[kept],
            live=self.live[kept],
            first=np.searchsorted(before, np.arange(len(self.first))),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """The states between the layers, whatever is kept of the options."""

    problem: Problem
    sources: tuple[tuple[int, ...], ...]
    """For each layer those whose outputs it reads."""
    open: tuple[tuple[int, ...], ...]
    """Layers whose outputs are open before each layer, and after the last one."""
    states: tuple[Mapping[State, int], ...]

    def stages(self, kept: Sequence[Indices]) -> tuple[Stage, ...]:
        """The moves of these options, by index in their layers."""
        return tuple(self._stage(layer, indices) for layer, indices in enumerate(kept))

    def _stage(self, layer: int, kept: Indices) -> Stage:
        options = self.problem.layers[layer]
        moves = np.array(list(self._moves(layer, kept)), dtype=np.intp).reshape(-1, 4)
        before, after, option, live = moves.T
        costs = np.array([[getattr(each, name) for name in ADDED] for each in options], dtype=np.float64)
        first = np.searchsorted(before, np.arange(len(self.states[layer]) + 1))
        return Stage(
            option, before, after, costs[option], live.astype(np.float64), first, len(self.states[layer + 1])
        )

    def _moves(self, layer: int, kept: Indices) -> Iterator[tuple[int, int, int, int]]:
        """State before and after, option and live bytes."""
        options = [(int(index), self.problem.layers[layer][index]) for index in kept]
        for state, number in self.states[layer].items():
            waiting, led = self._waiting(layer, state), {}
            for index, option in options:
                kind = option.reads, option.writes, option.output_bytes
                if kind not in led:
                    led[kind] = self.after(layer, state, kind)
                if (after := led[kind]) is not None:
                    yield number, self.states[layer + 1][after], index, option.live_bytes + waiting

    def after(self, layer: int, state: State, kind: Kind) -> State | None:
        """Where such an option leads; ``None`` where it does not read what there is."""
        reads, writes, output_bytes = kind
        tensors = dict(zip(self.open[layer], state, strict=True))
        if any(tensors[each][0] != reads for each in self.sources[layer]):
            return None
        tensors[layer] = writes, output_bytes if self.problem.held else 0
        return tuple(tensors[each] for each in self.open[layer + 1])

    def _waiting(self, layer: int, state: State) -> int:
        held = self.problem.held[layer] if self.problem.held else ()
        return sum(size for each, (_, size) in zip(self.open[layer], state, strict=True) if each in held)


def walk_of(problem: Problem) -> Walk | None:
    """The problem as a walk; ``None`` where too many tensors are open, or one is read before it is made."""
    last = _last_use(problem)
    if last is None:
        return None
    count = len(problem.layers)
    sources = tuple(tuple({a for a, b in problem.edges if b == layer}) for layer in range(count))
    opened = tuple(tuple(each for each in range(layer) if last[each] >= layer) for layer in range(count + 1))
    states: list[dict[State, int]] = [{(): 0}]
    walk = Walk(problem, sources, opened, ())
    for layer, options in enumerate(problem.layers):
        kinds = dict.fromkeys((each.reads, each.writes, each.output_bytes) for each in options)
        reached = (walk.after(layer, state, kind) for state in states[layer] for kind in kinds)
        found = dict.fromkeys(each for each in reached if each is not None)
        if len(found) > MOST_STATES:
            return None
        states.append({each: number for number, each in enumerate(found)})
    return Walk(problem, sources, opened, tuple(states))


def _last_use(problem: Problem) -> list[int] | None:
    """The last layer that reads each layer's output, or runs while it waits; -1 where none does."""
    last = [-1] * len(problem.layers)
    waiting = ((each, layer) for layer, held in enumerate(problem.held) for each in held)
    for used, layer in chain(problem.edges, waiting):
        if used >= layer:
            return None
        last[used] = max(last[used], layer)
    return last
