"""What a device needs next, decided from what is known. Pure: the same knowledge gives the same decision.

Prediction proposes, the device disposes: a configuration is proposed by the solver, its kernels are measured,
its joint accuracy is evaluated, it runs end to end on the device; every run corrects the predictions, until
the verified figures are inside the bounds or nothing that could be inside them is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

from cluster.errors import ClusterError
from cluster.model import Knowledge, Run, problem_of
from cluster.problem import Infeasible, Limits, Solution
from cluster.selection import Selection, requests_of, select, unmeasured
from cluster.solver import solve
from cluster.table import Table
from runtime.bounds import Bounds, ResolvedBounds


@dataclass(frozen=True, slots=True)
class NeedMeasurements:
    """The proposed configuration stands on predictions: measure these kernels."""

    requests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeedEvaluation:
    """The joint accuracy of the proposed configuration on calibration samples is not known."""

    selection: Selection


@dataclass(frozen=True, slots=True)
class NeedRun:
    """The proposed configuration has not run on this device."""

    selection: Selection


@dataclass(frozen=True, slots=True)
class Finished:
    """The device has its configuration, or it is shown that none keeps the bounds."""

    verdict: Literal["holds", "infeasible", "unverified"]
    """``unverified``: the rounds ended before a configuration that should hold did."""
    selection: Selection
    """The configuration, or the best effort; it has run on the device."""
    nearest: Mapping[str, float | None] = field(default_factory=dict)
    """Where infeasible: for each bound the nearest feasible value with the others kept."""


UNIFORM = ("exact", "int8")
"""Approximations that run in all layers at once before anything is chosen."""

Decision = NeedMeasurements | NeedEvaluation | NeedRun | Finished


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard to try."""

    rounds: int
    """Configurations that may run on the device, besides the uniform ones."""
    headroom: float
    """Share of the latency bound that is left free, because a device is never twice the same."""


def decide(table: Table, knowledge: Knowledge, bounds: Bounds, policy: Policy, rounds: int) -> Decision:
    """The next thing that brings the device to a verified configuration, ``rounds`` runs into the job.

    The uniform configurations run first: exact because relative bounds refer to it, int8 because two points
    tell what lies between kernels and network.
    """
    for name in UNIFORM:
        uniform = select(table.uniform(name), knowledge.latency_s)
        if missing := unmeasured(table, uniform, knowledge.settled):
            return NeedMeasurements(missing)
        if not works(table, uniform, knowledge):
            continue
        if name != "exact" and uniform.variants not in knowledge.joint_loss_pp:
            return NeedEvaluation(uniform)
        if knowledge.run_of_variants(uniform.variants) is None:
            return NeedRun(uniform)
    if not knowledge.runs:
        raise ClusterError(
            f"no exact kernel works on class {table.device_class}; `blinknet devices` shows what it is"
        )
    limits = bounds.resolve(knowledge.runs[0].exact)
    return _Search(table, knowledge, bounds, policy, rounds, limits).next()


def is_uniform(table: Table, selection: Selection) -> bool:
    """Whether it is one of those that run for every device, whatever its bounds."""
    return any(selection.variants == table.uniform_variants(name) for name in UNIFORM)


def works(table: Table, selection: Selection, knowledge: Knowledge) -> bool:
    """Whether each of its kernels gave a latency on the device."""
    return all(request in knowledge.latency_s for request in requests_of(table, selection))


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
class _Search:
    """One decision: propose, skip what is known to fail, stop at the first thing that is not known."""

    table: Table
    knowledge: Knowledge
    bounds: Bounds
    policy: Policy
    rounds: int
    limits: ResolvedBounds

    def next(self) -> Decision:
        problem, target = problem_of(self.table, self.knowledge), self.target()
        while True:
            outcome = solve(problem, target)
            if isinstance(outcome, Infeasible):
                return self.verified() or self.best_effort(outcome)
            selection = self.selection(outcome)
            if need := self.needed(selection):
                return need
            if self.loses_too_much(selection):
                if outcome.totals.divergence <= 0:
                    return self.verified() or Finished(
                        "infeasible", self.knowledge.runs[0].selection, {"loss": 0.0}
                    )
                target = replace(target, divergence=outcome.totals.divergence * 0.95)
                continue
            run = self.knowledge.run_of(selection)
            if run is None:
                return self.no_better(selection) or self.try_on_device(selection)
            if holds(run, self.bounds, self.policy.headroom / 2):
                return self.verified() or Finished("holds", selection)
            problem = replace(problem, forbidden=(*problem.forbidden, outcome.variants))

    def target(self) -> Limits:
        return target_limits(self.limits, self.policy.headroom, self.knowledge.accuracy.divergence_for)

    def selection(self, solution: Solution) -> Selection:
        chosen = [self.table.candidate(index, key) for index, key in enumerate(solution.variants)]
        return select(chosen, self.knowledge.latency_s)

    def needed(self, selection: Selection) -> Decision | None:
        if missing := unmeasured(self.table, selection, self.knowledge.settled):
            return NeedMeasurements(missing)
        if selection.variants not in self.knowledge.joint_loss_pp:
            return NeedEvaluation(selection)
        return None

    def loses_too_much(self, selection: Selection) -> bool:
        bound = self.limits.loss_pp
        return bound is not None and self.knowledge.joint_loss_pp[selection.variants] > bound

    def no_better(self, selection: Selection) -> Finished | None:
        """What is verified already, if the proposal does not answer more calibration samples right."""
        best, loss = self.verified(self.policy.headroom / 2), self.knowledge.joint_loss_pp
        if best and loss.get(best.selection.variants, 0.0) <= loss[selection.variants]:
            return best
        return None

    def try_on_device(self, selection: Selection) -> Decision:
        if self.rounds < self.policy.rounds:
            return NeedRun(selection)
        return self.verified() or Finished("unverified", self.closest())

    def verified(self, margin: float | None = None) -> Finished | None:
        """The best configuration that held its bounds on the device: chosen by calibration samples.

        Without a ``margin`` what has half the headroom left goes before what just holds.
        """
        runs = self.knowledge.runs
        holding = [run for run in runs if holds(run, self.bounds, margin or self.policy.headroom / 2)]
        if margin is None:
            holding = holding or [run for run in runs if holds(run, self.bounds)]
        if not holding:
            return None
        loss = self.knowledge.joint_loss_pp
        best = min(holding, key=lambda run: (loss.get(run.selection.variants, 0.0), run.costs.latency_s))
        return Finished("holds", best.selection)

    def best_effort(self, outcome: Infeasible) -> Decision:
        """Run what violates the bounds least as well: the run may show that the prediction was too dark."""
        nearest = nearest_bounds(outcome, self.policy.headroom, self.knowledge.accuracy.curve.loss_pp)
        if outcome.best_effort is None:
            return Finished("infeasible", self.knowledge.runs[0].selection, nearest)
        selection = self.selection(outcome.best_effort)
        if need := self.needed(selection):
            return need
        if self.knowledge.run_of(selection) is None:
            if self.rounds < self.policy.rounds:
                return NeedRun(selection)
            selection = self.closest()
        return Finished("infeasible", selection, nearest)

    def closest(self) -> Selection:
        """Of what has run on the device, the one whose worst bound is exceeded least."""
        return min(self.knowledge.runs, key=lambda run: excess(run, self.bounds)).selection
