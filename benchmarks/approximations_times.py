"""The process in which a bundle is timed: ``python -m benchmarks.approximations_times --help``.

Apart from the benchmark's own, because it is pinned to one core before anything counts cores, which does not
go together with Ray. The last line is a ``Contest`` as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.machine import keep_to_one_core


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.approximations_times", description=__doc__)
    parser.add_argument("network", help="a shipped one")
    parser.add_argument("fastest", type=Path, help="the bundle to time")
    parser.add_argument("exact", type=Path, help="the bundle of its exact configuration")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and samples")
    options = parser.parse_args()
    keep_to_one_core()
    # Only now: importing numpy, which everything else needs, counts cores.
    from benchmarks.bundle_contest import compete
    from benchmarks.contest import Effort
    from runtime.records import to_plain

    effort = Effort(1.0, 512, 1000) if options.quick else Effort(6.0, 5000, 10_000)
    print(json.dumps(to_plain(compete(options.network, options.fastest, options.exact, effort))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
