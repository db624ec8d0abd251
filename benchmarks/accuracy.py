"""Is a predicted loss right, and what does an evaluation cost: ``python -m benchmarks.accuracy [--quick]``.

For both shipped networks: effects of single layers on the calibration samples, then random configurations
whose divergences add up to what loses about 0.2 to 3 points. Each is refitted and evaluated on calibration
samples, as a run does it, and on evaluation samples for the truth. Every configuration is then predicted by a
model that saw the single layers and the configurations of the other folds: ``accuracy_mae_pp`` is the mean
absolute difference to the truth, ``sum_mae_pp`` the same without pairwise effects, and ``coverage_seen`` the
share of bars that hold what the calibration samples counted, beside ``coverage_promised``. Of two
configurations the better one is told by the divergence (``ranked_by_divergence``) and by the loss
(``ranked_by_counted``) on the calibration samples, as often as that says.

Then neighbours, one layer changed from each to the next: processor seconds of an evaluation, refit included,
as a search does them one after the other (``evaluation_cpu_s``), and with nothing kept (``whole_cpu_s``).
What DIR holds is not evaluated again. No device takes part.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from statistics import fmean

from benchmarks.accuracy_ground import Evaluated, Ground
from benchmarks.networks import SHIPPED
from cluster.outputs import prepare
from cost_model.joint_law import JointLaw, Tried
from cost_model.loss_bars import Estimate
from cost_model.loss_curve import LossCurve, Point
from workers.sources import accuracy_versions

CONFIGURATIONS, QUICK_CONFIGURATIONS = 60, 20
FOLDS = 10
PROMISED = 0.9
DISTINCT_PP = 0.1
"""By which losses have to differ for one of two configurations to be the better one."""
Predictor = Callable[[Tried], Estimate]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_CONFIGURATIONS} configurations")
    parser.add_argument("--network", choices=list(SHIPPED), help="one of them alone")
    parser.add_argument("--out", type=Path, default=Path("out/accuracy"), help="default: out/accuracy")
    options = parser.parse_args(arguments)
    count = QUICK_CONFIGURATIONS if options.quick else CONFIGURATIONS
    names = [options.network] if options.network else list(SHIPPED)
    found = {name: _measured(name, options.out, count) for name in names}
    print(json.dumps({**found, "coverage_promised": PROMISED, "quick": options.quick}))
    return 0


def _measured(network: str, out: Path, count: int) -> dict[str, float]:
    versions = accuracy_versions().rpartition(" ")[2]
    ground = Ground(network, prepare(out, network).path / f"evaluated-{versions}.jsonl")
    ground.single_effects()
    ground.configurations(count)
    cost_s, whole_s = ground.cost_s()
    return figures(ground.known) | {"evaluation_cpu_s": round(cost_s, 2), "whole_cpu_s": round(whole_s, 2)}


def figures(known: Sequence[Evaluated]) -> dict[str, float]:
    """Errors and coverage, by cross-validation over the configurations."""
    alone = {pair: each.counted.divergence for each in known if not each.truth for pair in each.names.items()}
    singles = [_tried(each, alone) for each in known if each.truth is None]
    joint = [(_tried(each, alone), each.truth.loss_pp) for each in known if each.truth is not None]
    pairs, sums = (_cross_validated(singles, joint, learn) for learn in (by_pairs, by_sum))
    return {
        "configurations": len(joint),
        "accuracy_mae_pp": round(fmean(abs(bar.loss_pp - truth) for bar, _, truth in pairs), 3),
        "sum_mae_pp": round(fmean(abs(bar.loss_pp - truth) for bar, _, truth in sums), 3),
        "counted_mae_pp": round(fmean(abs(each.loss_pp - truth) for _, each, truth in pairs), 3),
        "coverage_seen": round(fmean(bar.low_pp <= each.loss_pp <= bar.high_pp for bar, each, _ in pairs), 3),
        "bar_pp": round(fmean(bar.high_pp - bar.loss_pp for bar, _, _ in pairs), 3),
        "mean_loss_pp": round(fmean(truth for _, _, truth in pairs), 3),
        "ranked_by_divergence": ranked_right([(each.divergence, each, truth) for each, truth in joint]),
        "ranked_by_counted": ranked_right([(each.loss_pp, each, truth) for each, truth in joint]),
    }


def _cross_validated(
    singles: Sequence[Tried],
    joint: Sequence[tuple[Tried, float]],
    learn: Callable[[Sequence[Tried]], Predictor],
) -> list[tuple[Estimate, Tried, float]]:
    """Each configuration's prediction by what did not see it, with what was counted and the truth."""
    found = []
    for fold in range(min(FOLDS, len(joint))):
        others = [each for index, (each, _) in enumerate(joint) if index % FOLDS != fold]
        predict = learn([*singles, *others])
        found += [(predict(each), each, truth) for each, truth in joint[fold::FOLDS]]
    return found


def ranked_right(values: Sequence[tuple[float, Tried, float]]) -> float:
    """Of pairs that are alike in divergence and differ in true loss, the share that values order rightly."""
    right = [
        (one < other) == (loss < other_loss)
        for index, (one, tried, loss) in enumerate(values)
        for other, other_tried, other_loss in values[:index]
        if abs(loss - other_loss) > DISTINCT_PP and abs(log(tried.divergence / other_tried.divergence)) < 1
    ]
    return round(fmean(right), 3) if right else 1.0


def by_pairs(tried: Sequence[Tried]) -> Predictor:
    """As the accuracy model predicts."""
    law = JointLaw.fit(tried)
    return lambda each: law.estimate(each.alone, PROMISED)


def by_sum(tried: Sequence[Tried]) -> Predictor:
    """As the solver adds up."""
    points = [Point(sum(each.alone), each.loss_pp, each.count, joint=len(each.alone) > 1) for each in tried]
    curve = LossCurve.fit(points)

    def predict(each: Tried) -> Estimate:
        loss = curve.loss_pp(sum(each.alone))
        return Estimate(loss, loss, loss)

    return predict


def _tried(each: Evaluated, alone: dict[tuple[str, str], float]) -> Tried:
    parts = tuple(alone[pair] for pair in each.names.items())
    return Tried(parts, each.counted.divergence, each.counted.loss_pp, each.counted.count)


if __name__ == "__main__":
    sys.exit(main())
