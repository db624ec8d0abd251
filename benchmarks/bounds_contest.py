"""Every rival at every triple that we have answered; what they lost is kept in DIR.

A rival's answer is what it would have handed over: a loss on the evaluation samples, or nothing where it
found no configuration that keeps the bounds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bounds_answers import Answer, Due
from benchmarks.bounds_optuna import SAMPLERS, Bench, Trial, best, read_trials, study
from benchmarks.bounds_rivals import Losses, Rival, greedy, uniform, within
from benchmarks.bounds_triples import Triple
from benchmarks.jobs import run_file
from cluster.choices import Choices
from cluster.outputs import prepare, write_atomically
from cluster.problem import Solution
from cluster.run import Execution
from cluster.site import Site
from cost_model.store import Store
from workers.sources import accuracy_versions, kernel_versions

GREEDY, UNIFORM = "greedy", ("uniform_int8", "uniform_channels")
OPTUNA = tuple(f"optuna_{each}" for each in SAMPLERS)
RIVALS = (*OPTUNA, *UNIFORM, GREEDY)
Found = Mapping[str, Mapping[Triple, float | None]]


def contest(answers: Sequence[Answer], site: Site, store: Store, out: Path, trials: int, due: Due) -> None:
    """Try what was not tried yet, of one network."""
    solved = [each for each in answers if each.result is not None]
    for device_class in dict.fromkeys(each.triple.device_class for each in solved):
        mine = [each.triple for each in solved if each.triple.device_class == device_class]
        goals = {device_class: mine[0].goal}
        execution = Execution(site, run_file(mine[0].network), mine[0].folder(out), store, goals)
        choices = execution.choices(mine[0].device)
        if trials:
            _studies(mine[0], execution, choices, site, store, out, trials, due)
        _simple(mine, choices, site, out, due)


def _simple(triples: Sequence[Triple], choices: Choices, site: Site, out: Path, due: Due) -> None:
    """Uniform and greedy configurations; several triples may get the same."""
    folder = prepare(out, triples[0].network).path
    losses = Losses(site, folder / "losses.json")
    kept = _read(folder)
    everywhere = list(uniform(choices, site.job.degrees or ()))
    for triple in triples:
        for name in (*UNIFORM, GREEDY):
            if due():
                return
            if (key := _key(name, triple)) not in kept:
                found = _candidates(name, everywhere, choices, triple)
                best_pp = min((losses.loss_pp(each.variants) for each in found), default=None)
                kept[key] = best_pp
                write_atomically(folder / "rivals.json", json.dumps(_stamped(kept)) + "\n")


def _candidates(name: str, everywhere: Sequence[Rival], choices: Choices, triple: Triple) -> list[Solution]:
    """Configurations of a method that keep the bounds."""
    if name == GREEDY:
        found = greedy(choices, triple.goal)
        return [found.solution] if found else []
    return [
        each.solution
        for each in everywhere
        if each.method == name and within(choices, triple.goal, each.solution)
    ]


def _studies(
    triple: Triple,
    execution: Execution,
    choices: Choices,
    site: Site,
    store: Store,
    out: Path,
    most: int,
    due: Due,
) -> None:
    """Both samplers on one device, each for as long as we needed it: for all kernels, and for all runs."""
    ledger = execution.ledger
    bench = Bench(site, triple.device, choices, ledger.latencies()[triple.device_class])
    runs = len(ledger.network_runs(triple.device))
    timed_s = _timed_s(triple, site, store)

    def enough(trials: Sequence[Trial]) -> bool:
        ran = [each.device_s for each in trials if each.device_s]
        return len(trials) >= most or (bool(ran) and sum(ran) >= timed_s + runs * sum(ran) / len(ran))

    for sampler in SAMPLERS:
        study(sampler, bench, choices, _path(out, triple, sampler), enough, due)


def _timed_s(triple: Triple, site: Site, store: Store) -> float:
    """Seconds in which the device executed repeats of kernels for us."""
    target = site.plans[triple.device_class].table.target
    measured = store.measurements(triple.device_class, target, kernel_versions())
    return sum(sum(each.seconds) * each.number for each in measured.values())


def known_losses(answers: Sequence[Answer], out: Path) -> Found:
    """Of every rival, at the triples that it was tried on."""
    found: dict[str, dict[Triple, float | None]] = defaultdict(dict)
    for each in answers:
        triple = each.triple
        kept = _read(prepare(out, triple.network).path)
        for name in (*UNIFORM, GREEDY):
            if (key := _key(name, triple)) in kept:
                found[name][triple] = kept[key]
        for name, sampler in zip(OPTUNA, SAMPLERS, strict=True):
            if trials := read_trials(_path(out, triple, sampler)):
                chosen = best(trials, triple.goal)
                found[name][triple] = chosen.costs.loss_pp if chosen and chosen.costs else None
    return {name: found[name] for name in RIVALS}


def _path(out: Path, triple: Triple, sampler: str) -> Path:
    versions = accuracy_versions().rpartition(" ")[2]
    return prepare(out, triple.network).path / f"trials-{triple.device_class}-{sampler}-{versions}.jsonl"


def _key(name: str, triple: Triple) -> str:
    return f"{name} {triple.device_class} {triple.goal}"


def _read(folder: Path) -> dict[str, float | None]:
    path = folder / "rivals.json"
    kept = json.loads(path.read_text()) if path.is_file() else _stamped({})
    return dict(kept["losses_pp"]) if kept["versions"] == accuracy_versions() else {}


def _stamped(losses: Mapping[str, float | None]) -> dict[str, Any]:
    return {"versions": accuracy_versions(), "losses_pp": losses}
