"""The search for the fastest, or the smallest, configuration that loses no more than a bound allows. Pure.

The solver knows divergences that are added up; what a configuration loses as a whole shows only when it is
evaluated, and a refit makes it lose less than its layers do. So the largest sum whose configuration keeps the
loss bound is searched for, between what is known to keep it and what surely loses too much. Samples are few
and one configuration is luckier than its neighbour, so what lies between is tried evenly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, sqrt

from cluster.least_loss import LeastLoss
from cluster.model import problem_of
from cluster.needs import Decision, NeedEvaluation, NeedMeasurements
from cluster.problem import Infeasible, Limits, Problem, Totals, totals_of
from cluster.search import Search
from cluster.solver import Solver

NARROW = 1.05
"""Divergences are told apart if they differ by more than this factor."""
LITTLE_DOUBT = 0.8
"""Confidence at which a configuration, and with it what has larger divergences, is given up."""


@dataclass(frozen=True, slots=True)
class Known:
    """A configuration whose joint loss is known, with what it is predicted to cost."""

    variants: tuple[str, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class Span:
    """Sums of divergences between which a cheaper configuration may be that keeps the loss bound."""

    low: float
    """The best one's; 0 where there is none."""
    high: float
    """The least that surely loses too much; infinite where none is known."""
    ceiling: float
    """The largest that there is."""
    tried: tuple[float, ...]
    """Known to gain nothing, although they may have lost too much by bad luck alone."""

    @property
    def ends(self) -> list[float]:
        """Everything that is known, in order; what is next is between two of them."""
        inner = sorted(each for each in self.tried if self.low < each < self.high)
        top = inner[-1] if inner else self.low
        return [self.low, *inner, self.ceiling if top * NARROW >= self.ceiling else self.high]


@dataclass(frozen=True, slots=True)
class Cheapest(Search):
    """Evaluate until nothing cheaper keeps the loss bound, then run the cheapest that does."""

    def next(self) -> Decision:
        """What to do next."""
        problem = self._problem()
        best = self.best(problem)
        if best and (need := self.unmeasured(self.selected(best.variants))):
            return need
        allowed = 0 if self.spent.budget else self.policy.evaluations_after(self.refusals())
        if self.spent.evaluations < allowed and (better := self._better(problem, best)):
            return better
        if best is None:
            # What loses least tells whether anything keeps these bounds, and which ones would be kept.
            return LeastLoss(
                self.table, self.knowledge, self.goal, self.policy, self.spent, self.limits
            ).next()
        if self.knowledge.run_of_variants(best.variants) and (found := self.verified()):
            return found
        return self.try_on_device(self.selected(best.variants))

    def best(self, problem: Problem) -> Known | None:
        """Of all that was ever evaluated, the cheapest that should keep every bound and did not fail to."""
        keeping = [
            each
            for each in self._known(problem)
            if self.keeps_loss(each.variants) and each.variants not in problem.forbidden
        ]
        return min(keeping, key=self._order, default=None)

    def _problem(self) -> Problem:
        """Without the configurations that violated a bound on the device."""
        runs = self.knowledge.runs
        held = {run.selection.variants for run in runs if self.held(run)}
        failed = dict.fromkeys(run.selection.variants for run in runs)
        return replace(
            problem_of(self.table, self.knowledge),
            forbidden=tuple(each for each in failed if each not in held),
        )

    def _inside(self) -> Limits:
        """The bounds that can be told from the sum of the layers."""
        return self.target().without("divergence")

    def _known(self, problem: Problem) -> Iterator[Known]:
        """Everything that was evaluated and is predicted to be inside the other bounds."""
        index = [{option.variant: at for at, option in enumerate(layer)} for layer in problem.layers]
        inside = self._inside()
        for variants in self.knowledge.joint:
            choice = [at.get(variant) for at, variant in zip(index, variants, strict=True)]
            known = [at for at in choice if at is not None]
            # Fewer: a kernel does not work on this device, or the run has fewer approximations.
            if len(known) == len(choice) and inside.allow(totals := totals_of(problem, known)):
                yield Known(variants, totals)

    def _order(self, known: Known) -> tuple[float, ...]:
        return known.totals.of(self.goal.solved), known.totals.latency_s, known.totals.divergence

    def _better(self, problem: Problem, best: Known | None) -> Decision | None:
        """What to find out of a configuration that is cheaper than the best one and may keep the bound.

        What is known on the way costs nothing. ``None`` where there is nothing left between the best one and
        what surely loses too much.
        """
        solver, span = Solver(problem), self._span(problem, best)
        while (target := self._target(span)) is not None:
            limits = replace(self._inside(), divergence=target)
            outcome = solver.solve(limits, self.goal.solved)
            if isinstance(outcome, Infeasible) or (best and not self._cheaper(outcome.totals, best)):
                if need := self._cheapening(best.totals if best else None, limits, solver.problem):
                    return need
                span = replace(span, low=target)
                continue
            if need := self.unmeasured(self.selection(outcome)):
                return need
            if need := self._cheapening(outcome.totals, limits, solver.problem):
                return need
            if outcome.variants not in self.knowledge.joint:
                return NeedEvaluation(self.selection(outcome))
            if outcome.totals.divergence <= span.low:
                solver = solver.forbidding(outcome.variants)
            else:
                span = replace(span, tried=(*span.tried, target))
        return None

    def _cheapening(self, best: Totals | None, limits: Limits, problem: Problem) -> NeedMeasurements | None:
        """What might lead to a configuration that is cheaper by more than the tolerance."""
        objective = self.goal.solved
        most = inf if best is None else best.of(objective) * (1 - self.policy.tolerance.share)
        return self.worthwhile(lambda each: each.of(objective) < most, limits, objective, problem.forbidden)

    def _span(self, problem: Problem, best: Known | None) -> Span:
        """Where to look, by what is known of configurations that would be cheaper than the best one."""
        low = best.totals.divergence if best else 0.0
        known = [
            each
            for each in self._known(problem)
            if each.totals.divergence > low and (best is None or self._cheaper(each.totals, best))
        ]
        return Span(
            low,
            min((each.totals.divergence for each in known if self._surely_loses(each.variants)), default=inf),
            sum(max(each.divergence for each in layer) for layer in problem.layers),
            tuple(each.totals.divergence for each in known),
        )

    def _target(self, span: Span) -> float | None:
        """The next sum to try: where the accuracy curve says at first, then up or down, then between."""
        start = self.knowledge.accuracy.divergence_for(self.limits.loss_pp or 0.0)
        ends = span.ends
        if ends[0] == 0:
            return min(start, ends[1] / 2) or None
        if ends[-1] == inf:
            return min(max(start, 2 * ends[-2]), span.ceiling)
        lower, upper = max(pairwise(ends), key=lambda gap: gap[1] / gap[0])
        return sqrt(lower * upper) if lower * NARROW < upper else None

    def _cheaper(self, totals: Totals, best: Known) -> bool:
        return totals.of(self.goal.solved) < best.totals.of(self.goal.solved)

    def _surely_loses(self, variants: tuple[str, ...]) -> bool:
        """Whether the calibration samples leave little doubt that it loses too much, or the device none."""
        run = self.knowledge.run_of_variants(variants)
        lower_pp = self.knowledge.joint[variants].lower_pp(LITTLE_DOUBT)
        return (run is not None and self.lost_too_much(run)) or lower_pp > self.loss_bound_pp
