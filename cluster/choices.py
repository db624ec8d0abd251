"""What a run leaves for later questions: each device's choices, as ``OUT/RUN/choices/CLASS.UNIT.json``.

Enough to answer any bounds without the store, a device, TVM or Ray.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from cluster.goal import Goal, Objective
from cluster.least_loss import nearest_bounds
from cluster.outputs import OutputError, RunFolder, write_atomically
from cluster.problem import Infeasible, Limits, Problem, Solution
from cluster.search import target_limits
from cluster.solver import solve
from cost_model.joint_law import JointLaw
from cost_model.loss_bars import Estimate, LossBars
from cost_model.loss_curve import LossCurve
from runtime.bounds import Bounds
from runtime.configuration import Costs
from runtime.records import RARE, from_plain, to_plain


@dataclass(frozen=True, slots=True)
class Choices:
    """Everything that one device can choose from, with the corrections that its verified runs have taught."""

    device: str
    bounds: Bounds
    """As the run stated them."""
    exact: Costs
    """The verified exact configuration: what relative bounds refer to."""
    headroom: float
    problem: Problem
    curve: LossCurve
    """From summed divergence to loss."""
    objective: Objective = "loss"
    emulated: bool = field(default=False, metadata=RARE)
    """Whether the latencies are those of an emulated device."""
    law: JointLaw | None = field(default=None, metadata=RARE)
    """From the divergences of a configuration's layers to its loss, with a bar; ``None``: an older run's."""
    target: str = field(default="", metadata=RARE)
    """What its bundles are compiled for; units of one target can run the same bundle."""

    @property
    def goal(self) -> Goal:
        """As the run stated it."""
        return Goal(self.bounds, self.objective)

    def answer(self, goal: Goal) -> Solution | Infeasible:
        """The best configuration for this goal, as far as what was measured can tell."""
        return solve(self.problem, self.target_limits(goal), goal.solved)

    def target_limits(self, goal: Goal) -> Limits:
        """What the solver aims at for this goal."""
        limits = goal.bounds.resolve(self.exact)
        return target_limits(limits, self.headroom, self.curve.divergence_for)

    def nearest(self, outcome: Infeasible) -> dict[str, float | None]:
        """The nearest feasible bounds, each with the others kept."""
        return nearest_bounds(outcome, self.headroom, self.curve.loss_pp)

    def loss(self, solution: Solution, confidence: float = 0.95) -> Estimate:
        """Predicted loss of an answer, with the effects of its pairs and with its bar.

        Bounds are compared with the curve over the sum, which leaves pairs out.
        """
        divergence = solution.totals.divergence
        if self.law is None:
            return LossBars().estimate(self.curve.loss_pp(divergence), divergence, confidence)
        options = (layer[index] for layer, index in zip(self.problem.layers, solution.choice, strict=True))
        return self.law.estimate([each.divergence for each in options if each.divergence > 0], confidence)

    def widened(self, goal: Goal, outcome: Infeasible) -> dict[str, float]:
        """The bounds, all wider by the least share that makes them feasible; nothing where no share does."""
        if outcome.stretch is None or outcome.stretch == inf:
            return {}
        stretched = self.target_limits(goal).stretched(outcome.stretch).given()
        bounds = self.nearest(Infeasible({str(name): bound for name, bound in stretched.items()}, None))
        return {name: bound for name, bound in bounds.items() if bound is not None}

    def costs(self, solution: Solution) -> Costs:
        """Predicted costs of an answer."""
        totals = solution.totals
        loss_pp = self.curve.loss_pp(totals.divergence)
        accuracy = None if self.exact.accuracy is None else self.exact.accuracy - loss_pp / 100
        return Costs(totals.latency_s, totals.memory_bytes, totals.storage_bytes, loss_pp, accuracy)


def write_choices(folder: RunFolder, choices: Choices) -> None:
    """Write the device's file; raises ``OutputError``."""
    path = _path(folder, choices.device)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(to_plain(choices), separators=(",", ":")) + "\n")


def read_choices(folder: RunFolder) -> tuple[Choices, ...]:
    """Those of every device of a run, in alphabetical order; raises ``OutputError``."""
    paths = sorted((folder.path / "choices").glob("*.json"))
    if not paths:
        raise OutputError(f"{folder.path} has no choices yet: the run did not end; start it again to go on")
    return tuple(_read(path) for path in paths)


def _path(folder: RunFolder, device: str) -> Path:
    return folder.path / "choices" / f"{device}.json"


def _read(path: Path) -> Choices:
    try:
        return from_plain(Choices, json.loads(path.read_text(encoding="utf-8")), "choices")
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is not what BlinkNet wrote ({error}); run `blinknet run` again") from error
