"""One job of the economy benchmark: from an empty store to its choices at several bounds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from rich.console import Console

from benchmarks.jobs import run_file
from cluster.goal import Goal
from cluster.job import load_inputs
from cluster.outputs import RunFolder, prepare, write_atomically
from cluster.progress import ProgressView
from cluster.run import Execution
from cluster.settings import ClusterSettings, RunFile, load_run_file
from cluster.site import Site, open_site
from cost_model.measurement import Evaluation, configuration_key
from cost_model.store import Store
from runtime.bounds import Bounds
from runtime.configuration import Configuration
from workers.sources import accuracy_versions, kernel_versions

LATENCIES = (60, 80, 50, 40, 30, 25, 20)
"""Percent of exact; the first one is the job whose wall time counts."""
QUICK_LATENCIES = LATENCIES[:3]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    network: str
    device_class: str
    latencies: tuple[int, ...]
    everything: bool
    small: bool

    @property
    def name(self) -> str:
        """Of its folder."""
        way = "everything" if self.everything else "economical"
        return f"{self.network}-{self.device_class}-{way}{'-small' if self.small else ''}"

    def run_file(self) -> RunFile:
        """The network's own run file for this class alone."""
        whole = load_run_file(run_file(self.network))
        changes: dict[str, object] = {
            "name": self.name,
            "devices": {self.device_class: whole.devices[self.device_class]},
            "measure": whole.measure.model_copy(update={"everything": self.everything}),
        }
        if self.small:
            changes["degrees"] = (Fraction(1, 2),)
        return whole.model_copy(update=changes)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job took and what it chose."""

    seconds: float
    """Of the job for the first bound: compiling, measuring, evaluating, choosing, verifying."""
    measured: int
    """Kernels with a tile each, when all bounds were answered."""
    evaluations: int
    """Of accuracy on calibration samples, for the first bound."""
    losses_pp: dict[str, float]
    """Bound to the loss counted on the calibration samples, where the bound holds."""


def outcome(plan: Plan, out: Path, screen: Console) -> Outcome:
    """Run it, unless its folder tells what came of it."""
    folder = prepare(out, plan.name)
    kept = folder.path / "economy.json"
    versions = f"{kernel_versions()} {accuracy_versions()} {plan}"
    if kept.is_file() and (said := json.loads(kept.read_text()))["versions"] == versions:
        return Outcome(**said["outcome"])
    screen.print(plan.name, markup=False)
    folder.store.unlink(missing_ok=True)
    found = _run(plan, folder, screen)
    write_atomically(kept, json.dumps({"versions": versions, "outcome": asdict(found)}, indent=1))
    return found


def _run(plan: Plan, folder: RunFolder, screen: Console) -> Outcome:
    start = time.monotonic()
    job = plan.run_file()
    with (
        open_site(job, load_inputs(job), ClusterSettings(), None, screen) as site,
        Store(folder.store) as store,
    ):
        losses: dict[str, float] = {}
        seconds, evaluations = 0.0, 0
        for latency in plan.latencies:
            goal = Goal(Bounds.parse({"latency": f"{latency}%"}))
            with ProgressView(screen) as view:
                execution = Execution(site, run_file(plan.network), folder, store, {plan.device_class: goal})
                (result,) = execution.run(view).results.values()
            known = _evaluations(site, store)
            if not seconds:
                seconds, evaluations = time.monotonic() - start, len(known)
            if result.verdict == "holds":
                losses[f"{latency}%"] = _loss_pp(known, result.configuration)
        plan_of_class = site.plans[plan.device_class]
        settled = store.unit_measurements(plan.device_class, plan_of_class.table.target, kernel_versions())
        return Outcome(seconds, len(settled.keys() & set(plan_of_class.kernels)), evaluations, losses)


def _evaluations(site: Site, store: Store) -> dict[str, Evaluation]:
    """On calibration samples."""
    material = site.material
    return store.evaluations(material.network.sha256, material.calibration.sha256, accuracy_versions())


def _loss_pp(known: Mapping[str, Evaluation], chosen: Configuration) -> float:
    variants = {each.layer: each.variant for each in chosen.layers}
    exact, answers = known[configuration_key({})], known.get(configuration_key(variants))
    return 0.0 if answers is None else 100 * (exact.accuracy - answers.accuracy)
