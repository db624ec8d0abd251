"""What each approximation of a layer costs and loses: ``python -m benchmarks.methods [--quick]``.

Every approximation of every layer of a network, each alone among exact layers: its multiply-accumulates,
bytes of weights and time beside the exact layer's, and how far the network's answers then are from the exact
ones. Those that a run leaves out because another one beats them in everything are marked; the last line tells
how many of them answer better than everything that is left and costs no more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.machine import cpu_name, keep_to_one_core, versions

if TYPE_CHECKING:
    from benchmarks.methods_effects import Row

NETWORK = "cifar10_quick"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples: under two minutes")
    quick = parser.parse_args(arguments).quick
    core = keep_to_one_core()
    # Only now: importing numpy, which everything else needs, counts cores.
    from benchmarks.methods_effects import effects

    fitted, judged = (128, 300) if quick else (512, 2000)
    print(f"{cpu_name()}, core {core}; {NETWORK} on {judged} samples, fitted to {fitted}", flush=True)
    rows = effects(NETWORK, fitted, judged)
    report(rows)
    installed = versions(("apache-tvm", "numpy"))
    print(json.dumps(figures(rows) | {"cpu": cpu_name(), "versions": installed, "quick": quick}))
    return 0


def report(rows: Sequence[Row]) -> None:
    """A table; shares are of the exact layer."""
    from cluster.tables import console, plain_table

    table = plain_table("layer", "approximation", "", right=("operations", "weights", "time", "divergence"))
    for row in rows:
        shares = (f"{each:.0%}" for each in (row.operations, row.weights, row.time))
        left_out = "" if row.offered else "left out"
        table.add_row(row.layer, row.approximation, left_out, *shares, f"{row.divergence:.2g}")
    console().print(table)


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """What the last line says."""
    gone = [row for row in rows if not row.offered]
    return {
        "benchmark": "methods",
        "approximations": len(rows),
        "left_out": len(gone),
        "missed": sum(not any(each.beats(row) for each in rows if each.offered) for row in gone),
        "divergence": {f"{row.layer} {row.approximation}": row.divergence for row in rows},
    }


if __name__ == "__main__":
    sys.exit(main())
