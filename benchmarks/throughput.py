"""How many kernels a second are timed, beside TVM's own way: ``python -m benchmarks.throughput [--quick]``.

Real kernels of the shipped networks on real devices of this machine, the same for both: our coordinator, Ray
actors and sessions against MetaSchedule's RPCRunner, once with as many repeats of as many milliseconds as
ours take on average, once as it is by default. Both are given what was compiled before; what it takes with
compiling is a figure of its own. All take turns in every round.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from benchmarks.machine import SINGLE_THREAD, cpu_name, versions


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer kernels and rounds: under a minute")
    quick = parser.parse_args(arguments).quick
    # Before TVM and numpy are imported, which read it once.
    os.environ.update(SINGLE_THREAD)
    from benchmarks.throughput_contest import FULL, QUICK, contest
    from cluster.tables import console

    said = contest(QUICK if quick else FULL, console())
    installed = versions(("apache-tvm", "ray", "numpy"))
    print(json.dumps(said | {"cpu": cpu_name(), "versions": installed, "quick": quick}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
