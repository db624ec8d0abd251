"""The best that a device has run by now, for whoever watches. Pure."""

from __future__ import annotations

from cluster.goal import Goal
from cluster.model import Knowledge
from cluster.search import holds

CONFIDENCE = 0.95


def best_text(knowledge: Knowledge, goal: Goal) -> str:
    """What it loses, with the confidence interval from calibration samples, and its latency's upper bound.

    Empty where nothing has kept the bounds yet.
    """
    holding = [run for run in knowledge.runs if holds(run, goal.bounds)]
    if not holding:
        return ""
    run = min(holding, key=lambda each: goal.cost(each.costs))
    latency = f"{run.costs.latency_s * 1e3:.3f} ms at most"
    joint = knowledge.joint.get(run.selection.variants)
    if joint is None:
        return f"best {run.costs.loss_pp:+.2f} pp, {latency}"
    low_pp, high_pp = joint.lower_pp(CONFIDENCE), joint.upper_pp(CONFIDENCE)
    return f"best {joint.loss_pp:+.2f} pp ({low_pp:+.2f} to {high_pp:+.2f}), {latency}"
