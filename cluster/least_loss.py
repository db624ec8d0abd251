"""The search for the configuration that loses least inside the bounds. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cluster.model import problem_of
from cluster.needs import Decision, Finished, NeedMeasurements, NeedRun
from cluster.problem import Infeasible, Limits, Problem, Totals
from cluster.search import Search
from cluster.selection import Selection
from cluster.solver import Solver


def nearest_bounds(
    outcome: Infeasible, headroom: float, loss_for: Callable[[float], float]
) -> dict[str, float | None]:
    """The nearest feasible bounds as a user would state them: headroom included, loss for divergence."""
    found: dict[str, float | None] = dict(outcome.nearest)
    if (latency := found.get("latency")) is not None:
        found["latency"] = latency / (1 - headroom)
    if "divergence" in found:
        divergence = found.pop("divergence")
        found["loss"] = None if divergence is None else loss_for(divergence)
    return found


@dataclass(frozen=True, slots=True)
class LeastLoss(Search):
    """Down from the largest divergence that the loss bound allows, until a configuration holds."""

    def next(self) -> Decision:
        """What to do next."""
        solver, target = Solver(problem_of(self.table, self.knowledge)), self.target()
        while True:
            outcome = solver.solve(target)
            if isinstance(outcome, Infeasible):
                hope = self.worthwhile(_whatever, target, "divergence", solver.problem.forbidden)
                return hope or self.verified() or self.best_effort(outcome)
            selection = self.selection(outcome)
            if more := self.unmeasured(selection) or self._improving(outcome.totals, target, solver.problem):
                return more
            if need := self.needed(selection):
                return need
            if self.counted_pp(selection.variants) > self.loss_bound_pp:
                if outcome.totals.divergence <= 0:
                    return self.verified() or Finished(
                        "infeasible", self.knowledge.runs[0].selection, {"loss": 0.0}
                    )
                target = replace(target, divergence=outcome.totals.divergence * 0.95)
                continue
            run = self.knowledge.run_of(selection)
            if run is None:
                return self.no_better(selection) or self.try_on_device(selection)
            if self.held(run):
                return self.verified() or Finished("holds", selection)
            solver = solver.forbidding(outcome.variants)

    def _improving(self, proposal: Totals, target: Limits, problem: Problem) -> NeedMeasurements | None:
        """What might lead to a configuration that loses less, by more than the tolerance."""
        loss_pp = self.knowledge.accuracy.curve.loss_pp
        most_pp = loss_pp(proposal.divergence) - self.policy.tolerance.loss_pp

        def gains(totals: Totals) -> bool:
            return loss_pp(totals.divergence) < most_pp

        return self.worthwhile(gains, target, "divergence", problem.forbidden)

    def no_better(self, selection: Selection) -> Finished | None:
        """What is verified already, if the proposal does not come nearer to the exact network."""
        best = self.verified(comfortably=True)
        if best and self.error(best.selection.variants) <= self.error(selection.variants):
            return best
        return None

    def best_effort(self, outcome: Infeasible) -> Decision:
        """Run what violates the bounds least as well: the run may show that the prediction was too dark."""
        nearest = nearest_bounds(outcome, self.room, self.knowledge.accuracy.curve.loss_pp)
        if outcome.best_effort is None:
            return Finished("infeasible", self.knowledge.runs[0].selection, nearest)
        selection = self.selection(outcome.best_effort)
        if need := self.needed(selection):
            return need
        if self.knowledge.run_of(selection) is None:
            if self.spent.rounds < self.policy.rounds:
                return NeedRun(selection)
            selection = self.closest()
        return Finished("infeasible", selection, nearest)


def _whatever(_: Totals) -> bool:
    """Anything is better than nothing."""
    return True
