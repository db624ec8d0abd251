"""Are bounds kept, and what do they cost: ``python -m benchmarks.bounds [--quick] [--out DIR]``.

For both shipped networks and each x86 level of this machine, 54 triples of bounds (latency, memory, storage),
all as shares of the exact float32 configuration on that device. Each triple is solved and verified as
`blinknet run` does it. Then, apart from that, its verdict comes from a fresh session: the bundle runs beside
the exact one again, its peak memory is taken again, and (but for `--quick`) it answers all evaluation samples
again. Triples that lead to the same configuration share the run that certified it and the fresh one.

At the same bounds: uniform int8, uniform channel selection, greedy per layer (``benchmarks.bounds_rivals``),
and Optuna's NSGA-II and TPE with as much device time as we took (``benchmarks.bounds_optuna``; `--trials`
limits them).

All triples of a network share one store in DIR. What was found before is not sought again, and `--minutes`
ends the call after so long: the same command goes on. `--afresh` forgets earlier fresh sessions. `--quick`
takes 24 triples, spread over grid, networks and classes, without Optuna; with DIR filled it ends within a
minute.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.bounds_answers import Answer, Due, forget_fresh, known_answer, run_afresh, solve
from benchmarks.bounds_contest import RIVALS, contest, known_losses
from benchmarks.bounds_figures import figures
from benchmarks.bounds_triples import Triple, all_triples, quick_triples
from benchmarks.jobs import run_file
from cluster.embedded import embedded_fleet, local_classes
from cluster.job import load_inputs
from cluster.outputs import prepare
from cluster.settings import ClusterSettings, load_run_file
from cluster.site import open_site
from cluster.tables import console, plain_table
from cluster.texts import costs_cells
from cost_model.store import Store

TRIALS = 40
"""Of each of Optuna's samplers, for a class and network, where our device time allows more."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    screen = console()
    classes = local_classes()
    triples = quick_triples(classes) if options.quick else all_triples(classes)
    triples = [each for each in triples if options.network in (None, each.network)]
    trials = 0 if options.quick else options.trials
    due = _due(options.minutes)
    try:
        _find_out(triples, options.out, trials, screen, due)
        answers = [known_answer(each, options.out) for each in triples]
        if options.quick or options.afresh:
            forget_fresh(answers, options.out)
        with embedded_fleet(classes) as tracker:
            run_afresh(answers, tracker, options.out, due, counted=not options.quick)
    except ValueError as error:
        print(f"benchmarks.bounds: {error}", file=sys.stderr)
        return 2
    answers = [known_answer(each, options.out) for each in triples]
    losses = known_losses(answers, options.out)
    report(answers, screen)
    print(json.dumps(figures(answers, losses) | {"quick": options.quick}))
    return 0


def report(answers: Sequence[Answer], screen: Console) -> None:
    """A row a triple."""
    table = plain_table(
        "network", "class", "bounds", right=("latency", "memory", "storage", "loss", "verdict")
    )
    for each in answers:
        triple = each.triple
        shown = each.fresh or (each.result.certificate if each.result else None)
        costs = costs_cells(shown.costs, shown.exact, shown.percentile) if shown else [""] * 4
        table.add_row(triple.network, triple.device_class, str(triple.goal), *costs, each.word)
    screen.print(table)


def _find_out(triples: Sequence[Triple], out: Path, trials: int, screen: Console, due: Due) -> None:
    """What is not known yet; a network of which all is known opens no site."""
    for network in dict.fromkeys(each.network for each in triples):
        mine = [each for each in triples if each.network == network]
        answers = [known_answer(each, out) for each in mine]
        unsolved = any(each.result is None for each in answers)
        if due() or not (unsolved or _unfought(answers, out, trials)):
            continue
        run = load_run_file(run_file(network))
        with (
            Store(prepare(out, network).store) as store,
            open_site(run, load_inputs(run), ClusterSettings(), None, screen) as site,
        ):
            solve(mine, site, store, out, due)
            contest([known_answer(each, out) for each in mine], site, store, out, trials, due)


def _unfought(answers: Sequence[Answer], out: Path, trials: int) -> bool:
    """Whether some rival was not tried at some triple."""
    losses = known_losses(answers, out)
    methods = [name for name in RIVALS if trials or not name.startswith("optuna")]
    return any(each.triple not in losses[name] for each in answers for name in methods)


def _due(minutes: float | None) -> Due:
    end = None if minutes is None else time.monotonic() + 60 * minutes
    return lambda: end is not None and time.monotonic() > end


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bounds", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="24 triples; fresh latency and memory, accuracy as certified"
    )
    parser.add_argument("--minutes", type=float, help="stop after so many; the same command goes on")
    parser.add_argument("--network", help="one of the shipped networks alone")
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"of each sampler; default: {TRIALS}")
    parser.add_argument("--afresh", action="store_true", help="forget the fresh sessions of earlier calls")
    parser.add_argument("--out", type=Path, default=Path("out/bounds"), help="default: out/bounds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
