"""The mixed-integer program behind the solver, in the form HiGHS takes it.

One binary a variant. Latency, storage and divergence add up; for every layer the parameters of the whole
network with that layer's own live bytes, and what waits beside it, are below the memory bound. Rows are
scaled by their bound, because seconds are 1e-5 and bytes 1e7.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from cluster.binary_program import Answer, BinaryProgram, TimeUpError, minimise
from cluster.dominance import undominated
from cluster.problem import (
    FIELDS,
    OBJECTIVES,
    Limits,
    Objective,
    Problem,
    Solution,
    SolverError,
    totals_of,
)

Floats = NDArray[np.float64]
Row = tuple[Floats, float, float]
"""Coefficients, lower and upper bound."""

OBJECTIVE_SCALE = 1e6
"""HiGHS stops at an absolute gap of 1e-6: costs are scaled up until that is nothing."""
TIE_BREAK = 1e-9
"""Costs that differ by less than this share of the dearest configuration are a tie; lower latency wins."""
BOUND_SCALE = 100.0
"""HiGHS lets a row be exceeded by 1e-6: a bound is scaled up to 100, so that this is 1e-8 of it."""
CORE_PER_LAYER = 4


class IntegerProgram:
    """A problem as columns and rows, solved again and again under different limits and objectives.

    Columns are the options that nothing dominates, then the sum of all parameters (it keeps the memory rows
    sparse), then a spare one: the peak where that is minimised, the violation where the bounds cannot hold.
    """

    def __init__(self, problem: Problem, time_limit_s: float) -> None:
        self._problem = problem
        self._time_limit_s = time_limit_s
        self._kept = [
            (layer, int(index))
            for layer, options in enumerate(problem.layers)
            for index in undominated(options, frozenset(cut[layer] for cut in problem.forbidden))
        ]
        self._column = {option: column for column, option in enumerate(self._kept)}
        self._layer = np.array([layer for layer, _ in self._kept])
        self._options = [problem.layers[layer][index] for layer, index in self._kept]
        self._parameters = len(self._kept)
        self._spare = self._parameters + 1
        self._unit = {each: self._dearest(each) for each in OBJECTIVES}
        self._structure = [*self._one_each(), *self._forms_agree(), *self._cuts(), self._parameter_sum()]

    def minimise(self, objective: Objective, limits: Limits) -> Solution | None:
        """The best configuration within the limits; ``None`` if there is none."""
        rows = self._structure + [
            row for name, bound in limits.given().items() for row in self._bound(name, bound)
        ]
        cost = TIE_BREAK * self._expressions("latency")[0] / self._unit["latency"]
        if objective == "memory":
            rows += [self._below_spare(each / self._unit["memory"]) for each in self._expressions("memory")]
            cost[self._spare] = 1.0
        else:
            cost += self._expressions(objective)[0] / self._unit[objective]
        return self._first_allowed(cost, rows, limits)

    def least_violation(self, limits: Limits) -> Solution | None:
        """The configuration whose largest violation, relative to its bound, is the least; ties as ever."""
        rows = self._structure + [
            row for name, bound in limits.given().items() for row in self._bound(name, bound, relief=1.0)
        ]
        cost = TIE_BREAK * self._expressions("latency")[0] / self._unit["latency"]
        cost[self._spare] = 1.0
        return self._first_allowed(cost, rows, Limits())

    def _first_allowed(self, cost: Floats, rows: list[Row], limits: Limits) -> Solution | None:
        """Cut off what holds the limits only within HiGHS's tolerance (1e-8 of a bound)."""
        rows = list(rows)
        while (solution := self._solve(cost, rows)) is not None and not limits.allow(solution.totals):
            rows.append(self._cut([self._column[each] for each in enumerate(solution.choice)]))
        return solution

    def _solve(self, cost: Floats, rows: Sequence[Row]) -> Solution | None:
        coefficients, lower, upper = zip(*rows, strict=True)
        program = BinaryProgram(
            cost=OBJECTIVE_SCALE * cost,
            coefficients=np.stack(coefficients),
            lower=np.array(lower),
            upper=np.array(upper),
            continuous=2,
        )
        try:
            answer = minimise(program, CORE_PER_LAYER * len(self._problem.layers), self._time_limit_s)
        except TimeUpError as error:
            raise SolverError(
                f"the solver found nothing within {self._time_limit_s} s: {error}; raise the time limit"
            ) from error
        return self._solution(answer) if answer else None

    def _solution(self, answer: Answer) -> Solution:
        choice = tuple(index for _, index in sorted(self._kept[column] for column in answer.chosen))
        variants = tuple(options[i].variant for options, i in zip(self._problem.layers, choice, strict=True))
        return Solution(choice, variants, totals_of(self._problem, choice), answer.gap)

    def _expressions(self, quantity: Objective) -> list[Floats]:
        """Coefficients of what must stay below a bound: one sum, or one peak a layer."""
        if quantity == "memory":
            return [self._peak(layer) for layer in range(len(self._problem.layers))]
        return [self._row([getattr(each, FIELDS[quantity]) for each in self._options])]

    def _peak(self, layer: int) -> Floats:
        """All parameters, what the layer needs, and the outputs that wait beside it."""
        live = self._row([each.live_bytes for each in self._options])
        waiting = self._row([each.output_bytes for each in self._options])
        held = self._problem.held[layer] if self._problem.held else ()
        beside = np.isin(np.concatenate([self._layer, [-1, -1]]), held)
        peak = np.where(self._in_layer(layer), live, np.where(beside, waiting, 0.0))
        peak[self._parameters] = self._unit["memory"]
        return peak

    def _dearest(self, quantity: Objective) -> float:
        """At least what any configuration costs without offsets; the unit that costs are scaled by."""
        names = (
            ("parameter_bytes", "live_bytes", "output_bytes") if quantity == "memory" else (FIELDS[quantity],)
        )
        layers = self._problem.layers
        return sum(max(getattr(each, name) for each in layer) for layer in layers for name in names) or 1.0

    def _offset(self, quantity: Objective) -> float:
        problem = self._problem
        return {
            "latency": problem.latency_offset_s,
            "memory": problem.memory_offset_bytes,
            "storage": problem.storage_offset_bytes,
            "divergence": 0.0,
        }[quantity]

    def _bound(self, quantity: Objective, bound: float, relief: float = 0.0) -> Iterator[Row]:
        """Rows of a bound; with ``relief`` the spare column may stretch it, in units of the bound."""
        room = bound - self._offset(quantity)
        scale = (room if room > 0 else self._unit[quantity]) / BOUND_SCALE
        for expression in self._expressions(quantity):
            row = expression / scale
            row[self._spare] = -relief * (bound or self._unit[quantity]) / scale
            yield row, -inf, room / scale

    def _below_spare(self, row: Floats) -> Row:
        row[self._spare] = -1.0
        return row, -inf, 0.0

    def _one_each(self) -> Iterator[Row]:
        for layer in range(len(self._problem.layers)):
            yield self._in_layer(layer).astype(float), 1.0, 1.0

    def _forms_agree(self) -> Iterator[Row]:
        made = np.array([each.writes for each in self._options])
        read = np.array([each.reads for each in self._options])
        for producer, consumer in self._problem.edges:
            for form in np.union1d(made[self._layer == producer], read[self._layer == consumer]):
                gives = (self._layer == producer) & (made == form)
                takes = (self._layer == consumer) & (read == form)
                yield self._row(gives.astype(float) - takes), 0.0, 0.0

    def _cuts(self) -> Iterator[Row]:
        for cut in self._problem.forbidden:
            columns = [
                column
                for column, (layer, _) in enumerate(self._kept)
                if self._options[column].variant == cut[layer]
            ]
            # Fewer: it needs an option that does not exist, or that another one dominates.
            if len(columns) == len(self._problem.layers):
                yield self._cut(columns)

    def _cut(self, columns: Sequence[int]) -> Row:
        row = np.zeros(self._spare + 1)
        row[columns] = 1.0
        return row, -inf, len(columns) - 1.0

    def _parameter_sum(self) -> Row:
        row = self._row([each.parameter_bytes for each in self._options]) / self._unit["memory"]
        row[self._parameters] = -1.0
        return row, 0.0, 0.0

    def _row(self, values: Sequence[float] | Floats) -> Floats:
        return np.concatenate([np.asarray(values, dtype=np.float64), [0.0, 0.0]])

    def _in_layer(self, layer: int) -> NDArray[np.bool_]:
        return np.concatenate([self._layer == layer, [False, False]])
