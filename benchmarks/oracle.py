"""Is the search as good as knowing everything: ``python -m benchmarks.oracle [--store FILE] [--out DIR]``.

CIFAR-10-quick with variants that a run has measured on one class, a few of each layer and element type. All
configurations there are, up to some hundreds, are evaluated as a whole on the calibration samples; at 20
bounds the one that loses least is known then. Against it stands the search as `blinknet run` does it, from
nothing, with as much effort: it asks for joint evaluations one by one, and a run on the device is what the
measured kernels add up to.

``gap_to_oracle_pp`` is the largest difference of the two losses, both counted on the calibration samples.
Evaluations are kept in DIR, so that a second call ends within a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from benchmarks.oracle_network import Answers, Measured, Variants, configurations, measured
from cluster.decision import (
    Finished,
    Goal,
    NeedEvaluation,
    NeedRun,
    Policy,
    Spent,
    decide,
    is_uniform,
)
from cluster.joint_loss import JointLoss
from cluster.model import Knowledge, Run, network_s, planned_peak_bytes
from cluster.selection import Selection, candidates_of, selected
from cluster.settings import VerifySettings
from cluster.tables import console, plain_table
from cost_model.accuracy import AccuracyModel
from cost_model.measurement import Evaluation
from cost_model.store import Store
from network.target import Target
from runtime.bounds import Bounds
from runtime.configuration import Costs

SHARES = tuple(each / 10 + 0.05 for each in range(10))
"""Of the way from the least that there is to what the exact configuration takes."""
MEMORIES = (None, 0.5)


@dataclass(frozen=True, slots=True)
class Found:
    """Both answers at one bound; ``None``: nothing keeps it."""

    bounds: Bounds
    oracle_pp: float | None
    search_pp: float | None
    evaluations: int
    rounds: int

    @property
    def gap_pp(self) -> float:
        """What the search loses more."""
        if self.oracle_pp is None or self.search_pp is None:
            return 0.0 if self.oracle_pp is self.search_pp else float("inf")
        return self.search_pp - self.oracle_pp


@dataclass
class Walk:
    """One search, from nothing to its outcome; a device that takes what its kernels add up to."""

    known: Measured
    answers: Answers
    bounds: Bounds
    joint: dict[Variants, JointLoss] = field(default_factory=dict)
    evaluations: list[Evaluation] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    rounds: int = 0
    evaluated: int = 0

    def __post_init__(self) -> None:
        self.evaluations = self.answers.alone()
        exact = self.known.table.uniform_variants("exact")
        self.joint[exact] = JointLoss.beside(self.evaluations[0], self.evaluations[0])

    def end(self) -> Finished:
        """Where the decisions lead to."""
        stated = VerifySettings()
        policy = Policy(stated.rounds, headroom=0.0, evaluations=stated.evaluations)
        while True:
            spent = Spent(self.rounds, self.evaluated)
            match decide(self.known.table, self.knowledge(), Goal(self.bounds), policy, spent):
                case NeedEvaluation(selection):
                    self._evaluate(selection)
                case NeedRun(selection):
                    self._run(selection)
                case Finished() as outcome:
                    return outcome
                case other:
                    raise AssertionError(f"{other} was asked for although every kernel is measured")

    def knowledge(self) -> Knowledge:
        """What is known by now."""
        accuracy = AccuracyModel.fit(self.evaluations)
        names = {(each.layer, each.approximation) for layer in self.known.table.layers for each in layer}
        return Knowledge(
            latency_s=self.known.latency_s,
            settled=frozenset(self.known.table.requests),
            at_best_s={},
            divergence={(layer, name): accuracy.divergence({layer: name}) for layer, name in names},
            joint=dict(self.joint),
            runs=tuple(self.runs),
            accuracy=accuracy,
        )

    def _evaluate(self, selection: Selection) -> None:
        made = self.answers.jointly(selection.variants)
        self.evaluations.append(made)
        self.joint[selection.variants] = JointLoss.beside(self.evaluations[0], made)
        self.evaluated += not is_uniform(self.known.table, selection.variants)

    def _run(self, selection: Selection) -> None:
        exact = self.runs[0].selection if self.runs else selection
        loss_pp = self.joint[selection.variants].loss_pp
        costs, reference = self.costs(selection, loss_pp), self.costs(exact, 0.0)
        self.runs.append(Run(selection, costs, reference))
        self.rounds += not is_uniform(self.known.table, selection.variants)

    def costs(self, selection: Selection, loss_pp: float) -> Costs:
        """What the device shows of it."""
        table = self.known.table
        stored = sum(each.parameter_bytes for each in candidates_of(table, selection))
        seconds = network_s(table, self.knowledge(), selection)
        return Costs(seconds, planned_peak_bytes(table, selection), stored, loss_pp)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oracle", description=__doc__)
    parser.add_argument("--store", type=Path, default=Path("out/cifar10_quick/measurements.sqlite"))
    parser.add_argument("--out", type=Path, default=Path("out/oracle"), help="default: out/oracle")
    parser.add_argument("--most", type=int, default=4, help="variants a layer and element type (default: 4)")
    parser.add_argument("--samples", type=int, default=2000, help="for calibration (default: 2000)")
    options = parser.parse_args(arguments)
    if not options.store.is_file():
        print(f"benchmarks.oracle: no {options.store}; run `blinknet demo` first", file=sys.stderr)
        return 2
    target = Target.host()
    known = measured(options.store, "cifar10_quick", target.mcpu, target, options.most, options.samples)
    options.out.mkdir(parents=True, exist_ok=True)
    with Store(options.out / "oracle.sqlite") as store:
        answers = Answers(known, store, tuple(os.sched_getaffinity(0)))
        found, count = contest(known, answers)
    table = plain_table("bounds", right=("oracle", "search", "gap", "evaluations", "rounds"))
    for each in found:
        losses = ("" if loss is None else f"{loss:+.2f} pp" for loss in (each.oracle_pp, each.search_pp))
        row = (*losses, f"{each.gap_pp:+.2f} pp", str(each.evaluations), str(each.rounds))
        table.add_row(str(each.bounds), *row)
    console().print(table)
    print(json.dumps(figures(found, count) | {"samples": len(known.material.calibration)}))
    return 0


def contest(known: Measured, answers: Answers) -> tuple[list[Found], int]:
    """Both answers at every bound, and how many configurations there are."""
    alone = answers.alone()
    start = Walk(known, answers, Bounds())
    everything: dict[Variants, tuple[Costs, float]] = {}
    for variants in configurations(known.table):
        loss_pp = JointLoss.beside(alone[0], answers.jointly(variants)).loss_pp
        selection = selected(known.table, variants, known.latency_s)
        everything[variants] = start.costs(selection, loss_pp), loss_pp
    exact, _ = everything[known.table.uniform_variants("exact")]
    least = [
        min(getattr(costs, name) for costs, _ in everything.values()) for name in ("latency_s", "peak_bytes")
    ]
    found = []
    for memory in MEMORIES:
        for share in SHARES:
            latency_s = least[0] + share * (exact.latency_s - least[0])
            stated = {"latency": f"{latency_s:.12f}s"}
            if memory is not None:
                stated["memory"] = f"{least[1] + memory * (exact.peak_bytes - least[1]):.0f}B"
            found.append(_found(known, answers, Bounds.parse(stated), everything))
    return found, len(everything)


def _found(
    known: Measured, answers: Answers, bounds: Bounds, everything: dict[Variants, tuple[Costs, float]]
) -> Found:
    walk = Walk(known, answers, bounds)
    outcome = walk.end()
    costs, lost_pp = everything[outcome.selection.variants]
    limits = bounds.resolve(walk.runs[0].exact)
    oracle = [loss for each, loss in everything.values() if not limits.violated(each)]
    kept = outcome.verdict == "holds" and not limits.violated(costs)
    return Found(bounds, min(oracle, default=None), lost_pp if kept else None, walk.evaluated, walk.rounds)


def figures(found: Sequence[Found], configurations: int) -> dict[str, object]:
    """What the last line says."""
    return {
        "gap_to_oracle_pp": round(max(each.gap_pp for each in found), 3),
        "mean_gap_pp": round(fmean(each.gap_pp for each in found), 3),
        "bounds": len(found),
        "feasible": sum(each.oracle_pp is not None for each in found),
        "configurations": configurations,
        "most_evaluations": max(each.evaluations for each in found),
        "most_rounds": max(each.rounds for each in found),
    }


if __name__ == "__main__":
    sys.exit(main())
