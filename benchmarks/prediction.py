"""How well costs are predicted: ``python -m benchmarks.prediction [--minutes N] [--quick]``.

Kernels and random configurations of four networks are measured on a fleet of this machine: its x86 levels,
and an emulated Arm processor. What is measured is kept; another call measures only what is missing. Then
models are asked about what they have not seen: kernels, left out in turns with all their tiles, one class
at a time; a class of which ten kernels were measured; whole configurations, predicted from all but their
own run. A linear model, a look-up table and the plain sum of kernels have the same data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import figures as accuracy_figures
from benchmarks.accuracy_ground import read as read_evaluated
from benchmarks.machine import cpu_name, versions
from benchmarks.networks import SHIPPED
from benchmarks.prediction_collect import collect
from benchmarks.prediction_facts import Data, read_data, read_fingerprints
from benchmarks.prediction_kernels import (
    FOLDS,
    NEW_CLASS_DRAWS,
    LeftOut,
    leave_out,
    new_class_correlation,
    rival_errors,
)
from benchmarks.prediction_networks import PredictedNetwork, predicted_networks, shares
from benchmarks.prediction_plan import CLASSES, NETWORKS
from benchmarks.prediction_rivals import linear, look_up
from cluster.embedded import local_classes
from cluster.errors import ClusterError
from cluster.tables import console, plain_table
from cost_model.features import Sample
from cost_model.fingerprint import Fingerprint
from cost_model.latency import COVERAGE, LatencyModel
from tracker.cpus import CPUS
from tracker.errors import TrackerError
from workers.sources import accuracy_versions

QUICK_FOLDS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("out/prediction"), help="where measurements are kept"
    )
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="stop measuring then; the next call goes on"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"leave out {QUICK_FOLDS} of {FOLDS} folds alone"
    )
    parser.add_argument(
        "--accuracy", type=Path, default=Path("out/accuracy"), help="what `benchmarks.accuracy` has kept"
    )
    options = parser.parse_args(arguments)
    local = local_classes()
    classes = [each for each in CLASSES if each in local or each in CPUS]
    try:
        complete = collect(options.out, list(NETWORKS), classes, options.minutes, _say)
    except (ClusterError, TrackerError) as error:
        print(error, file=sys.stderr)
        return 2
    if not complete:
        _say("the time was not enough to measure everything; the figures are of what there is")
    data = read_data(options.out, list(NETWORKS), classes)
    figures = evaluate(data, read_fingerprints(options.out, classes), quick=options.quick)
    accuracy = {"accuracy_mae_pp": accuracy_mae_pp(options.accuracy)}
    print(json.dumps(figures | accuracy | {"complete": complete, "quick": options.quick}))
    return 0


def evaluate(data: Sequence[Data], fingerprints: Mapping[str, Fingerprint], *, quick: bool) -> dict[str, Any]:
    """Print the tables; gives what the last line says."""
    samples = unique(data)
    folds = range(QUICK_FOLDS if quick else FOLDS)
    kernels = leave_out(samples, fingerprints, folds)
    classes = sorted({each.device_class for each in samples})
    draws = 1 if quick else NEW_CLASS_DRAWS
    correlations = {
        name: [new_class_correlation(samples, fingerprints, name, seed) for seed in range(draws)]
        for name in classes
    }
    model = LatencyModel.fit(samples, fingerprints)
    networks = [each for one in data if one.runs for each in predicted_networks(one, model)]
    rivals = {
        "linear": rival_errors(samples, folds, linear),
        "look-up": rival_errors(samples, folds, look_up),
    }
    report(data, kernels, correlations, networks, rivals)
    return {
        **_kernel_figures(kernels, correlations, rivals),
        **_network_figures(networks),
        "cpu": cpu_name(),
        "versions": versions(("xgboost-cpu", "numpy", "scipy")),
    }


def accuracy_mae_pp(folder: Path) -> float | None:
    """The worst shipped network's, of the evaluations that are kept there; None where there are none."""
    versions = accuracy_versions().rpartition(" ")[2]
    kept = [folder / name / f"evaluated-{versions}.jsonl" for name in SHIPPED]
    found = [accuracy_figures(read_evaluated(path)) for path in kept if path.is_file()]
    if not found:
        _say(f"{folder} holds no evaluations of these sources; `python -m benchmarks.accuracy` makes them")
        return None
    return max(each["accuracy_mae_pp"] for each in found)


def unique(data: Sequence[Data]) -> list[Sample]:
    """Every kernel of every class once: networks share some."""
    found = {(each.device_class, each.kernel): each for one in data for each in one.samples}
    return [found[key] for key in sorted(found)]


def report(
    data: Sequence[Data],
    kernels: LeftOut,
    correlations: Mapping[str, Sequence[float]],
    networks: Sequence[PredictedNetwork],
    rivals: Mapping[str, np.ndarray[Any, Any]],
) -> None:
    """A row a class, then the rivals."""
    screen = console()
    table = plain_table(
        "class",
        right=("kernels", "MAPE", "median", "within 10 %", "covered", "rank, 10 measured", "networks"),
    )
    for name in sorted(correlations):
        own = kernels.of(name)
        errors = [each.latency_error for each in networks if each.device_class == name]
        table.add_row(
            name,
            str(len(own.samples)),
            f"{own.errors.mean():.3f}",
            f"{np.median(own.errors):.3f}",
            f"{shares(own.errors.tolist(), 0.1):.3f}",
            f"{own.coverage:.3f}",
            f"{np.mean(correlations[name]):.3f}",
            f"{np.median(errors):.3f}" if errors else "",
        )
    for name, errors_of in {"all": kernels.errors, **rivals}.items():
        table.add_row(
            name,
            str(len(errors_of)),
            f"{errors_of.mean():.3f}",
            f"{np.median(errors_of):.3f}",
            f"{shares(errors_of.tolist(), 0.1):.3f}",
        )
    screen.print(table)
    for one in data:
        screen.print(
            f"{one.facts.network} on {one.facts.device_class}: {len(one.samples)} of "
            f"{len(one.facts.samples)} kernels measured, {len(one.runs)} configurations run",
            markup=False,
        )


def _kernel_figures(
    kernels: LeftOut,
    correlations: Mapping[str, Sequence[float]],
    rivals: Mapping[str, np.ndarray[Any, Any]],
) -> dict[str, Any]:
    return {
        "benchmark": "prediction",
        "variants": len(kernels.samples),
        "held_out_share": 1 / FOLDS,
        "variant_mape": float(kernels.errors.mean()),
        "variant_median_error": float(np.median(kernels.errors)),
        "variant_within_10pct": shares(kernels.errors.tolist(), 0.1),
        "coverage_promised": COVERAGE,
        "coverage_seen": kernels.coverage,
        "new_class_rank_correlation_10": min(float(np.mean(each)) for each in correlations.values()),
        "new_class_rank_correlations": {name: float(np.mean(each)) for name, each in correlations.items()},
        **{f"{name}_mape": float(each.mean()) for name, each in rivals.items()},
        **{f"{name}_within_10pct": shares(each.tolist(), 0.1) for name, each in rivals.items()},
    }


def _network_figures(networks: Sequence[PredictedNetwork]) -> dict[str, Any]:
    errors, sums = [each.latency_error for each in networks], [each.sum_error for each in networks]
    # Of an emulated device the peak is the emulator's.
    memory = [each.memory_error for each in networks if each.device_class not in CPUS]
    return {
        "networks": len(networks),
        "network_median_error": float(np.median(errors)),
        "network_within_10pct": shares(errors, 0.1),
        "sum_median_error": float(np.median(sums)),
        "sum_within_10pct": shares(sums, 0.1),
        "memory_error": max(memory),
        "memory_median_error": float(np.median(memory)),
    }


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
