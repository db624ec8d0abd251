"""Are bounds kept, and what do they cost: ``python -m benchmarks.bounds [--quick] [--out DIR]``.

For both shipped networks and each x86 level of this machine, a grid of latency bounds and memory bounds, all
as shares of the exact float32 configuration on that device. Each pair is a job of its own: it is solved,
verified and handed over as `blinknet run` does it. Then, apart from that, its verdict comes from a fresh
session: the bundle runs beside the exact one again, its peak memory is taken again, and (but for `--quick`)
it answers all evaluation samples again.

All jobs of a network share one store in DIR, and a pair that was solved before is only run afresh. `--quick`
takes 24 pairs, spread over networks and classes; with DIR filled by an earlier call it ends within a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean

from rich.console import Console

from benchmarks.jobs import Job, run_file, solve
from benchmarks.networks import SHIPPED
from cluster.certify import renewed
from cluster.device_result import DeviceResult
from cluster.embedded import embedded_fleet, local_classes
from cluster.goal import Goal
from cluster.job import load_inputs
from cluster.outputs import read_result
from cluster.settings import RunFile, load_run_file
from cluster.tables import console, plain_table
from cluster.texts import costs_cells
from cluster.verify import run_bundle
from network.answers import count_right
from network.samples import Samples
from runtime.bounds import Bounds
from tracker.device import DeviceKey
from tracker.failure import Failure
from workers.device import DeviceDriver

LATENCIES = (70, 50, 35, 25, 20, 15)
MEMORIES = (100, 60, 40, 30)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two bounds for one network on one class, in percent of exact."""

    network: str
    device_class: str
    latency: int
    memory: int

    @property
    def bounds(self) -> Bounds:
        """As a run file would state them."""
        return Bounds.parse({"latency": f"{self.latency}%", "memory": f"{self.memory}%"})

    @property
    def job(self) -> Job:
        """What is solved and handed over."""
        name = f"{self.network}-{self.device_class}-latency{self.latency}-memory{self.memory}"
        return Job(self.network, self.device_class, Goal(self.bounds), name)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a fresh run of a pair's bundle shows; nothing ran where the job failed."""

    pair: Pair
    result: DeviceResult | None
    reason: str = ""

    @property
    def feasible(self) -> bool:
        """Whether the job handed over a configuration that is said to keep its bounds."""
        return self.result is not None and not self.result.nearest and not self.reason

    @property
    def word(self) -> str:
        """For the table."""
        if self.reason:
            return self.reason
        return "VIOLATED" if self.violated else "holds" if self.feasible else "infeasible, best effort"

    @property
    def violated(self) -> bool:
        """Whether the fresh run broke a bound that was said to hold."""
        certificate = self.result.certificate if self.result else None
        return self.feasible and certificate is not None and certificate.verdict != "holds"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bounds", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="24 pairs; fresh latency and memory, accuracy as certified"
    )
    parser.add_argument("--out", type=Path, default=Path("out/bounds"), help="default: out/bounds")
    options = parser.parse_args(arguments)
    screen = console()
    pairs = quick_pairs() if options.quick else all_pairs()
    try:
        solve([each.job for each in pairs], options.out, screen)
        verdicts = run_afresh(pairs, options.out, answers=not options.quick)
    except ValueError as error:
        print(f"benchmarks.bounds: {error}", file=sys.stderr)
        return 2
    report(verdicts, screen)
    print(json.dumps(figures(verdicts) | {"quick": options.quick}))
    return 0


def all_pairs() -> list[Pair]:
    """The whole grid for every network and class of this machine."""
    return [Pair(*each) for each in product(SHIPPED, local_classes(), LATENCIES, MEMORIES)]


def quick_pairs() -> list[Pair]:
    """Every point of the grid once, networks and classes in turns."""
    where = list(product(SHIPPED, local_classes()))
    grid = list(product(LATENCIES, MEMORIES))
    # Five is prime to the number of places: neighbours in the grid go to different ones.
    pairs = [
        Pair(*where[(5 * index + index // len(where)) % len(where)], *point)
        for index, point in enumerate(grid)
    ]
    return sorted(pairs, key=lambda each: list(SHIPPED).index(each.network))


def run_afresh(pairs: Sequence[Pair], out: Path, *, answers: bool) -> list[Verdict]:
    """A new session for every pair; with ``answers`` every evaluation sample is answered anew as well."""
    jobs = {name: load_run_file(run_file(name)) for name in SHIPPED}
    evaluation = {name: load_inputs(job).evaluation for name, job in jobs.items()}
    with embedded_fleet(local_classes()) as tracker:
        drivers = {pair.job.device: DeviceDriver(tracker, DeviceKey.parse(pair.job.device)) for pair in pairs}
        return [
            _run_afresh(
                pair, drivers[pair.job.device], jobs[pair.network], evaluation[pair.network], out, answers
            )
            for pair in pairs
        ]


def _run_afresh(
    pair: Pair, driver: DeviceDriver, job: RunFile, evaluation: Samples, out: Path, answers: bool
) -> Verdict:
    folder = pair.job.folder(out)
    if not folder.configuration(pair.job.device).is_file():
        return Verdict(pair, None, "its job handed nothing over")
    result = read_result(folder, pair.job.device)
    samples = evaluation if answers else evaluation.take(1)
    outcome = run_bundle(folder, driver, samples, job.verify.runs)
    if isinstance(outcome, Failure) or result.certificate is None:
        return Verdict(pair, result, str(outcome))
    if answers:
        right, count = count_right(outcome.answers, samples.right)
        certificate = renewed(result, outcome, right / count, count)
    else:
        certificate = renewed(result, outcome, result.certificate.accuracy, result.certificate.samples)
    return Verdict(pair, replace(result, certificate=certificate))


def report(verdicts: Sequence[Verdict], screen: Console) -> None:
    """A row a pair."""
    table = plain_table(
        "network", "class", "bounds", right=("latency", "memory", "storage", "loss", "verdict")
    )
    for each in verdicts:
        pair, certificate = each.pair, each.result.certificate if each.result else None
        costs = (
            costs_cells(certificate.costs, certificate.exact, certificate.percentile)
            if certificate
            else [""] * 4
        )
        table.add_row(pair.network, pair.device_class, str(pair.bounds), *costs, each.word)
    screen.print(table)


def figures(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """What the last line says; losses are those of the feasible pairs."""
    losses = [
        each.result.certificate.loss_pp
        for each in verdicts
        if each.feasible and each.result and each.result.certificate
    ]
    return {
        "pairs": len(verdicts),
        "feasible": sum(each.feasible for each in verdicts),
        "violations": sum(each.violated for each in verdicts),
        "mean_loss_pp": round(fmean(losses), 3) if losses else None,
        "max_loss_pp": round(max(losses), 3) if losses else None,
        "infeasible_with_nearest": sum(bool(each.result and each.result.nearest) for each in verdicts),
        "not_handed_over": sum(bool(each.reason) for each in verdicts),
    }


if __name__ == "__main__":
    sys.exit(main())
