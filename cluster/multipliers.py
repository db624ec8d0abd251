"""Lagrangian bounds of paths: a price for each bounded cost, and what a path pays at least. Pure.

With prices the bounds become part of what is minimised, and the least is a shortest path (Handler and Zang
1980). Any prices give a valid bound; those that give the largest are found on a grid that closes in on them,
all of a grid in one pass. In deep networks that bound is within parts of a per mille of the best path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from cluster.stages import Floats, Indices, Stage

ROUNDS = 9
WIDEST = 1e3
"""Factor between the middle of the first grid and its ends."""
KEPT = 3
POINTS = 5
"""Of a grid along each price."""


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """What a path costs at least from each state on, with so much to pay for each bounded cost."""

    weights: Floats
    """``(4,)``: of the objective by one of each cost."""
    rest: Sequence[Floats]
    """Between each two layers, by state."""

    def least(self, layer: int, state: Indices, room: Floats) -> Floats:
        """Of the objective, with so much ``(labels, 4)`` left of what is bounded."""
        priced = self.weights > 0
        return np.asarray(self.rest[layer][state] - room[:, priced] @ self.weights[priced])


def best_prices(
    stages: Sequence[Stage], column: int, room: Floats, bounded: Sequence[int], scale: Floats
) -> list[Prices]:
    """Those with the largest bound, and their neighbours in the last grid, best first."""
    chosen = list(bounded)
    centre, ratio = scale[column] / scale[chosen], WIDEST ** (2 / (POINTS - 1))
    grid = [0.0, *(ratio**each for each in range(-(POINTS // 2), POINTS // 2 + 1))]
    for _ in range(ROUNDS):
        weights = np.zeros((len(grid) ** len(chosen), 4))
        weights[:, chosen] = centre * np.array(list(product(grid, repeat=len(chosen))))
        rest = _rest(stages, column, weights)
        bounds = rest[0][:, 0] - weights[:, chosen] @ room[chosen]
        best = weights[int(np.argmax(bounds)), chosen]
        # What has no price may get one in the next round, as high as now.
        centre = np.where(best > 0, best, centre)
        grid = [0.0, *(each**0.5 for each in grid[1:])]
    return _prices(weights[np.argsort(-bounds, kind="stable")[:KEPT]], stages, column)


def repriced(prices: Sequence[Prices], stages: Sequence[Stage], column: int) -> list[Prices]:
    """The same prices for other moves: valid all the same, if not the best."""
    return _prices(np.array([each.weights for each in prices]), stages, column)


def _prices(weights: Floats, stages: Sequence[Stage], column: int) -> list[Prices]:
    rest = _rest(stages, column, weights)
    return [Prices(each, [layer[at] for layer in rest]) for at, each in enumerate(weights)]


def _rest(stages: Sequence[Stage], column: int, weights: Floats) -> list[Floats]:
    """``(prices, states)`` between each two layers: the least of objective and prices to the end."""
    found = [np.zeros((len(weights), stages[-1].states_after))]
    for stage in reversed(stages):
        moves = weights @ stage.costs.T + stage.costs[:, column] + found[-1][:, stage.after]
        before = np.full((len(weights), len(stage.first) - 1), np.inf)
        if len(stage.used):
            before[:, stage.used] = np.minimum.reduceat(moves, stage.first[stage.used], axis=1)
        found.append(before)
    return found[::-1]
