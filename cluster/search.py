"""What every search for a device's configuration has in common. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from statistics import median

from cluster.goal import Goal
from cluster.model import Knowledge, Run
from cluster.needs import (
    COUNTED,
    Decision,
    Finished,
    NeedEvaluation,
    NeedMeasurements,
    NeedRun,
    Policy,
    Spent,
)
from cluster.problem import Limits, Objective, Solution, Totals
from cluster.selection import Selection, selected, unmeasured
from cluster.table import Table
from cluster.worth import worth_measuring
from runtime.bounds import Bounds, ResolvedBounds

MOST_SPREAD = 0.1
"""Sessions that differ by more were disturbed: room would not help."""


def target_limits(
    limits: ResolvedBounds, headroom: float, divergence_for: Callable[[float], float]
) -> Limits:
    """What the solver aims at: inside the bounds, with some room for the device's moods."""
    divergence = None if limits.loss_pp is None else divergence_for(limits.loss_pp)
    return Limits(
        latency_s=None if limits.latency_s is None else limits.latency_s * (1 - headroom),
        memory_bytes=limits.memory_bytes,
        storage_bytes=limits.storage_bytes,
        divergence=None if divergence == inf else divergence,
    )


def holds(run: Run, bounds: Bounds, margin: float = 0.0) -> bool:
    """Whether a run kept the bounds; relative ones against the exact configuration of the same session.

    ``margin`` is the share of the latency bound that must be left.
    """
    limits = bounds.resolve(run.exact)
    if limits.latency_s is not None:
        limits = replace(limits, latency_s=limits.latency_s * (1 - margin))
    return not limits.violated(run.costs)


def excess(run: Run, bounds: Bounds) -> float:
    """By what share the run exceeds the worst of its bounds; not above 0 where it holds them all."""
    stated = bounds.resolve(run.exact).beside(run.costs).values()
    # A loss bound may be 0 or below: a point beyond it counts as much as all of another bound.
    return max((cost - bound) / (bound if bound > 0 else 1.0) for cost, bound in stated if bound is not None)


@dataclass(frozen=True, slots=True)
class Search:
    """One decision: propose, skip what is known to fail, stop at the first thing that is not known."""

    table: Table
    knowledge: Knowledge
    goal: Goal
    policy: Policy
    spent: Spent
    limits: ResolvedBounds

    @property
    def loss_bound_pp(self) -> float:
        """Infinite where none is stated."""
        return inf if self.limits.loss_pp is None else self.limits.loss_pp

    def target(self) -> Limits:
        """What the solver aims at."""
        return target_limits(self.limits, self.room, self.knowledge.accuracy.divergence_for)

    def selection(self, solution: Solution) -> Selection:
        """A solution with the fastest tiles."""
        return self.selected(solution.variants)

    def selected(self, variants: tuple[str, ...]) -> Selection:
        """These variants with the fastest tiles."""
        return selected(self.table, variants, self.knowledge.latency_s)

    def unmeasured(self, selection: Selection) -> NeedMeasurements | None:
        """What of the selection's kernels is only predicted."""
        missing = unmeasured(self.table, selection, self.knowledge.settled)
        return NeedMeasurements(missing) if missing else None

    def worthwhile(
        self,
        gains: Callable[[Totals], bool],
        limits: Limits,
        objective: Objective,
        forbidden: tuple[tuple[str, ...], ...] = (),
    ) -> NeedMeasurements | None:
        """What could make a configuration within the limits so good that it would be chosen instead."""
        found = worth_measuring(self.table, self.knowledge, limits, objective, gains, forbidden)
        return NeedMeasurements(found) if found else None

    def needed(self, selection: Selection) -> Decision | None:
        """What is not known yet of a selection that may run on the device."""
        if need := self.unmeasured(selection):
            return need
        if selection.variants not in self.knowledge.joint:
            return NeedEvaluation(selection)
        return None

    def held(self, run: Run) -> bool:
        """Whether a run kept the bounds so well that it will again: by more than its sessions differ."""
        return holds(run, self.goal.bounds, max(self.policy.headroom / 2, min(run.spread, MOST_SPREAD)))

    @property
    def room(self) -> float:
        """The share of the latency bound that is left free when choosing.

        What is predicted well then has room for what sessions usually differ by, and half the headroom left.
        """
        usual = median([run.spread for run in self.knowledge.runs] or [0.0])
        return max(self.policy.headroom, min(usual, MOST_SPREAD) + self.policy.headroom / 2)

    def refusals(self) -> int:
        """Configurations that the calibration samples allow, and the evaluation samples did not."""
        lost = {run.selection.variants for run in self.knowledge.runs if self.lost_too_much(run)}
        return sum(self.counted_pp(variants) <= self.loss_bound_pp for variants in lost)

    def counted_pp(self, variants: tuple[str, ...]) -> float:
        """The loss on the calibration samples; infinite for what ran in a job with others alone."""
        return self._upper_pp(variants, COUNTED)

    def error(self, variants: tuple[str, ...]) -> float:
        """The divergence of the whole configuration on the calibration samples; infinite likewise.

        Of two configurations it tells the one that truly loses less more often than their counted losses do,
        which are a few answers of a few thousand (``benchmarks.accuracy``: 80 % against 70 %).
        """
        joint = self.knowledge.joint.get(variants)
        return inf if joint is None else joint.divergence

    def lost_too_much(self, run: Run) -> bool:
        """Whether a run broke the loss bound, on the evaluation samples."""
        return run.costs.loss_pp > self.loss_bound_pp

    def keeps_loss(self, variants: tuple[str, ...]) -> bool:
        """Whether the loss bound should hold beyond the calibration samples.

        What ran and kept it needs to be no surer than that.
        """
        run = self.knowledge.run_of_variants(variants)
        kept = run is not None and not self.lost_too_much(run)
        confidence = COUNTED if kept else self.policy.confidence_after(self.refusals())
        return self._upper_pp(variants, confidence) <= self.loss_bound_pp

    def try_on_device(self, selection: Selection) -> Decision:
        """Run it, while there are rounds left."""
        if self.spent.rounds < self.policy.rounds:
            return NeedRun(selection)
        return self.verified() or Finished("unverified", self.closest())

    def verified(self, *, comfortably: bool = False) -> Finished | None:
        """The best configuration that held its bounds on the device: chosen by calibration samples.

        What has room left, for half the headroom and the spread between its sessions, goes before what has
        half the headroom only, and that before what just holds; both are not ``comfortably``.
        """
        runs, bounds = self.knowledge.runs, self.goal.bounds
        holding = [run for run in runs if self.held(run)]
        if not comfortably:
            holding = holding or [run for run in runs if holds(run, bounds, self.policy.headroom / 2)]
            holding = holding or [run for run in runs if holds(run, bounds)]
        return Finished("holds", min(holding, key=self._rank).selection) if holding else None

    def closest(self) -> Selection:
        """Of what has run on the device, the one whose worst bound is exceeded least."""
        return min(self.knowledge.runs, key=lambda run: excess(run, self.goal.bounds)).selection

    def _upper_pp(self, variants: tuple[str, ...], confidence: float) -> float:
        joint = self.knowledge.joint.get(variants)
        return inf if joint is None else joint.upper_pp(confidence)

    def _rank(self, run: Run) -> tuple[float, ...]:
        """Less is better."""
        error = self.error(run.selection.variants)
        if self.goal.objective == "loss":
            return error, run.costs.latency_s
        return not self.keeps_loss(run.selection.variants), self._share(run), error

    def _share(self, run: Run) -> float:
        """The objective's cost by the exact configuration's in the same session.

        Where that one was disturbed, what it usually costs counts: its trouble makes nobody else faster.
        """
        usual = median(self.goal.cost(each.exact) for each in self.knowledge.runs)
        return self.goal.cost(run.costs) / min(usual, self.goal.cost(run.exact))
