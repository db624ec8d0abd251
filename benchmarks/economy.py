"""How little has to be measured: ``python -m benchmarks.economy [--quick] [--out DIR] [--class CLASS]``.

The same job twice, each time from an empty store, for one class of this machine: as `blinknet run` does it,
and with every kernel of the class measured in each of its tiles before anything is chosen. Both then answer
the same further bounds. What the economical job chose is held against the thorough one's choice by the loss
that was counted on the calibration samples, which both chose by.

`--quick` takes CIFAR-10-quick with the degree 1/2 alone, and fewer bounds. A job that DIR holds from an
earlier call is not run again, and its wall time is the one of that call.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, geometric_mean

from benchmarks.economy_jobs import LATENCIES, QUICK_LATENCIES, Outcome, Plan, outcome
from benchmarks.networks import SHIPPED
from cluster.embedded import local_classes
from cluster.tables import console, plain_table


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.economy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small network, about a minute")
    parser.add_argument("--out", type=Path, default=Path("out/economy"), help="default: out/economy")
    parser.add_argument("--class", dest="device_class", choices=local_classes(), default=local_classes()[-1])
    options = parser.parse_args(arguments)
    screen = console()
    networks = ["cifar10_quick"] if options.quick else list(SHIPPED)
    latencies = QUICK_LATENCIES if options.quick else LATENCIES
    found: dict[str, tuple[Outcome, Outcome]] = {}
    for network in networks:
        few, everything = (
            outcome(Plan(network, options.device_class, latencies, every, options.quick), options.out, screen)
            for every in (False, True)
        )
        found[network] = few, everything
    table = plain_table(
        "network", right=("measured", "of", "evaluations", "seconds", "everything", "gap, worst", "mean")
    )
    for network, (few, everything) in found.items():
        gaps = gaps_pp(few, everything)
        table.add_row(
            network,
            str(few.measured),
            str(everything.measured),
            str(few.evaluations),
            f"{few.seconds:.0f}",
            f"{everything.seconds:.0f}",
            f"{max(gaps, default=0.0):+.2f} pp",
            f"{fmean(gaps or [0.0]):+.2f} pp",
        )
    screen.print(table)
    print(json.dumps(figures(found) | {"class": options.device_class, "quick": options.quick}))
    return 0


def gaps_pp(few: Outcome, everything: Outcome) -> list[float]:
    """By what the economical choice loses more, at every bound that both found to be feasible."""
    both = few.losses_pp.keys() & everything.losses_pp.keys()
    return [few.losses_pp[each] - everything.losses_pp[each] for each in sorted(both)]


def figures(found: dict[str, tuple[Outcome, Outcome]]) -> dict[str, object]:
    """What the last line says."""
    gaps = {name: gaps_pp(*pair) for name, pair in found.items()}
    return {
        "share_measured": round(max(few.measured / every.measured for few, every in found.values()), 3),
        "gap_pp": round(max((max(each) for each in gaps.values() if each), default=0.0), 3),
        "mean_gap_pp": round(fmean([gap for each in gaps.values() for gap in each] or [0.0]), 3),
        "bounds_compared": sum(len(each) for each in gaps.values()),
        "accuracy_evaluations": {name: few.evaluations for name, (few, _) in found.items()},
        "speedup": round(geometric_mean(every.seconds / few.seconds for few, every in found.values()), 2),
    }


if __name__ == "__main__":
    sys.exit(main())
