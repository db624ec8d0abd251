"""What one percentage point of accuracy buys: ``python -m benchmarks.approximations [--quick] [--out DIR]``.

For both shipped networks, on the best x86 level of this machine, the fastest configuration, the smallest in
peak memory and the smallest in storage that lose at most 1 percentage point. Each is a job of its own: it is
searched for, verified and handed over as `blinknet run` does it, its loss counted on the 10,000 evaluation
images. Then the bundle of the fastest one runs against ONNX Runtime with float32 and static int8, interleaved
in one process that is pinned to one core.

All jobs of a network share one store in DIR, and what was handed over before is only timed again. `--quick`
times fewer runs, and counts the rivals' right answers on fewer images; with DIR filled by an earlier call it
ends within a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.approximations_report import Contest, NetworkResult, lines, to_dict
from benchmarks.jobs import Job, solve
from benchmarks.machine import cpu_name, versions
from benchmarks.networks import SHIPPED
from cluster.device_result import DeviceResult
from cluster.embedded import local_classes
from cluster.errors import ClusterError
from cluster.goal import Goal, Objective
from cluster.outputs import read_result
from cluster.tables import console, plain_table
from cluster.texts import costs_cells, layers_text
from runtime.bounds import Bounds
from runtime.records import from_plain

OBJECTIVES: tuple[Objective, ...] = ("latency", "memory", "storage")
BOUNDS = {"loss": "1pp"}
OUT = Path("out/approximations")
ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.approximations", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer timed runs, accuracies on fewer images")
    parser.add_argument("--out", type=Path, default=OUT, help=f"default: {OUT}")
    options = parser.parse_args(arguments)
    if find_spec("onnxruntime") is None:
        print("onnxruntime is not installed; run `pip install 'blinknet[bench]'`", file=sys.stderr)
        return 2
    screen = console()
    try:
        results = [_result(name, options.out, screen, quick=options.quick) for name in SHIPPED]
    except ValueError as error:
        print(f"benchmarks.approximations: {error}", file=sys.stderr)
        return 2
    installed = versions(("apache-tvm", "onnxruntime", "numpy"))
    print(json.dumps(to_dict(results, cpu_name(), installed) | {"quick": options.quick}))
    return int(any(each.broken for each in results))


def jobs_of(network: str) -> dict[Objective, Job]:
    """One for each objective, on the best level; raises ``ClusterError`` where this machine has none."""
    if not (levels := local_classes()):
        raise ClusterError("this machine's CPU has no x86 level; run the benchmark on one that has")
    goals = {each: Goal(Bounds.parse(BOUNDS), each) for each in OBJECTIVES}
    return {each: Job(network, levels[-1], goal, f"{network}-{each}") for each, goal in goals.items()}


def _result(network: str, out: Path, screen: Console, *, quick: bool) -> NetworkResult:
    jobs = jobs_of(network)
    # The fastest last: what was found out for the others helps it along, and it is the one that is timed.
    solve(list(reversed(jobs.values())), out, screen)
    found = {objective: _handed_over(job, out) for objective, job in jobs.items()}
    screen.print("", _table(network, found.values()), sep="\n")
    contest = _timed(jobs["latency"], out, quick=quick)
    certificates = {each: result.certificate for each, result in found.items() if result.certificate}
    result = NetworkResult(network, certificates, contest)
    screen.print("", *lines(result), sep="\n", markup=False, highlight=False)
    return result


def _handed_over(job: Job, out: Path) -> DeviceResult:
    if not job.solved(out):
        raise ClusterError(
            f"{job.name} handed nothing over; run the same command again, it goes on from here"
        )
    return read_result(job.folder(out), job.device)


def _timed(job: Job, out: Path, *, quick: bool) -> Contest:
    """The job's bundle beside its rivals, in a process of its own."""
    folder = job.folder(out.absolute())
    bundles = (str(folder.bundle(job.device)), str(folder.exact_bundle(job.device)))
    command = [sys.executable, "-m", "benchmarks.approximations_times", job.network, *bundles]
    done = subprocess.run(
        [*command, *(["--quick"] if quick else [])], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise ClusterError(f"timing {job.name} failed; `{' '.join(command)}` shows why: {done.stderr[-500:]}")
    return from_plain(Contest, json.loads(done.stdout.splitlines()[-1]), "the contest")


def _table(network: str, results: Iterable[DeviceResult]) -> Table:
    """A row an objective."""
    headings = ("latency", "memory", "storage", "loss", "certificate")
    table = plain_table(network, "layers", right=headings)
    for each in results:
        layers = [(row.layer, row.approximation) for row in each.configuration.layers if row.parameter_bytes]
        if (certificate := each.certificate) is not None:
            costs = costs_cells(certificate.costs, certificate.exact, certificate.percentile)
            table.add_row(str(each.goal), layers_text(layers), *costs, certificate.verdict)
    return table


if __name__ == "__main__":
    sys.exit(main())
