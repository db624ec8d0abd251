"""``blinknet run``: from a run file to verified configurations, bundles and a report."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from cluster.budget import UNLIMITED, Budget
from cluster.choices import Choices, write_choices
from cluster.coordinator import Coordinator
from cluster.crew import build_slots
from cluster.decision import Finished, Policy
from cluster.delivery import Delivery, same_bundle
from cluster.device_result import DeviceResult
from cluster.evidence import estimates_of, evidence_of
from cluster.fleet import Fleet
from cluster.goal import Goal
from cluster.job import load_inputs
from cluster.ledger import Ledger, Marks, Scope, class_of
from cluster.loop import Loop, Terms
from cluster.needs import Tolerance
from cluster.outputs import RunFolder, RunRecord, prepare, write_atomically, write_result, write_run
from cluster.planning import common_requests, first_requests
from cluster.progress import ProgressView
from cluster.recorder import Recorder
from cluster.report import Evidence, KernelEstimate, compute, coverage, render
from cluster.rounds import Rounds
from cluster.selection import selection_of
from cluster.settings import cluster_settings, load_run_file
from cluster.settings_fields import EMBEDDED
from cluster.site import Site, open_site
from cost_model.speed_factors import SpeedFactor
from cost_model.store import Store
from workers.sources import accuracy_versions, fingerprint, kernel_versions

PROFILED = 32
"""Different kernels that are compiled a second time, with clocks: some seconds of one core."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run leaves: a result for each device, or why there is none."""

    folder: RunFolder
    results: Mapping[str, DeviceResult]
    missing: Mapping[str, str]
    """Device, or class without devices, to the reason."""
    held_out_errors: tuple[float, ...]
    """Relative errors of predicted kernel latencies on kernels that the model did not see."""
    held_out_coverage: float | None = None
    """Share of those that did not exceed their bounds; the cost model promises ``COVERAGE``."""
    factors: Mapping[str, SpeedFactor] = field(default_factory=dict)
    """Device to its speed factor, where its class has several units."""
    marks: Mapping[str, Marks] = field(default_factory=dict)
    """Device to how many of its measurements say less than they should."""

    @property
    def complete(self) -> bool:
        """Whether every device got a configuration that keeps its bounds."""
        return not self.missing and all(each.verdict == "holds" for each in self.results.values())


def run(path: Path, out: Path, tracker: str | None, console: Console, budget: Budget = UNLIMITED) -> Outcome:
    """Execute a run file; what earlier executions have measured is not measured again.

    Raises errors of our packages for wrong input, before anything is measured.
    """
    started_s = time.monotonic()
    job, cluster = load_run_file(path), cluster_settings()
    inputs = load_inputs(job)
    folder = prepare(out, job.name)
    with (
        Store(cluster.store or folder.store) as store,
        open_site(job, inputs, cluster, tracker, console) as site,
        ProgressView(console) as view,
    ):
        goals = {name: job.devices[name].goal for name in site.plans}
        left = budget.after(time.monotonic() - started_s)
        return Execution(site, path, folder, store, goals, left).run(view)


class Execution:
    """One set of goals, by class, answered on a site; only classes with a goal take part."""

    def __init__(
        self,
        site: Site,
        path: Path,
        folder: RunFolder,
        store: Store,
        goals: Mapping[str, Goal],
        budget: Budget = UNLIMITED,
    ) -> None:
        self._budget = budget
        self._site, self._path, self._folder, self._store = site, path, folder, store
        self._goals = goals
        self._plans = {name: site.plans[name] for name in goals}
        self._started = datetime.now(UTC)
        tables = {name: each.table for name, each in self._plans.items()}
        self.ledger = Ledger(store, self._scope(), tables, site.material.traits)
        self._delivery = Delivery(site.material.network, site.targets, self.ledger, goals)
        self._rounds = Rounds(folder.path / "rounds.json", self._round_terms())

    def run(self, view: ProgressView) -> Outcome:
        """Measure, decide and verify what is not known yet, then hand everything over."""
        return self._hand_over(self.settle(view))

    def settle(self, view: ProgressView) -> Coordinator:
        """Measure, decide and verify until every device has an outcome; nothing is handed over."""
        site = self._site
        write_run(self._folder, self._record({}, finished=False))
        coordinator = Coordinator(
            self._wanted(),
            self._layers(),
            common=self._common(),
            measured=self.ledger.measured_by(),
            shared=[name for name in self._plans if site.job.devices[name].configuration == "class"],
            build_slots=build_slots(site.cluster.build_cpus),
        )
        names = [layer.name for layer in site.material.network.layers]
        recorder = Recorder(self.ledger, names, self._delivery.bundle_bytes)
        terms = Terms(self._goals, self._policy(), self._site.cluster.patience_s, self._budget)
        fleet = Fleet(site.tracker, self._goals)
        loop = Loop(coordinator, self.ledger, recorder, self._rounds, site.crew, fleet, site.work, terms)
        loop.run(view)
        self.ledger.fit_to_everything()
        return coordinator

    def result(self, device: str, outcome: Finished) -> DeviceResult:
        """What an outcome says of the device, with its certificate."""
        return self._delivery.result(device, outcome, self._rounds.of(device))

    def deploy(self, result: DeviceResult, folder: RunFolder) -> DeviceResult:
        """Write the result's bundle and the exact one; gives it with the certificate to the last byte."""
        device = result.configuration.device
        self._bundle(folder.exact_bundle(device), self._delivery.exact_result(device))
        return self._bundle(folder.bundle(device), result)

    def _hand_over(self, coordinator: Coordinator) -> Outcome:
        """Files of every device first, then those of the whole run."""
        results: dict[str, DeviceResult] = {}
        missing = dict(coordinator.abandoned)
        for device, outcome in sorted(coordinator.outcomes.items()):
            if isinstance(outcome, Finished):
                results[device] = self._deliver(device, outcome)
            else:
                missing[device] = outcome
        record = self._record({name: each.verdict for name, each in results.items()}, finished=True)
        estimates = estimates_of(self.ledger)
        evidence = [self._evidence(each, estimates) for each in results.values()]
        write_atomically(self._folder.report, render(compute(record, evidence)))
        write_run(self._folder, record)
        held_out = [each for several in estimates.values() for each in several if each.held_out]
        errors = tuple(each.error for each in held_out)
        marks = {device: self.ledger.marks(device) for device in results}
        within = coverage(held_out)
        return Outcome(self._folder, results, missing, errors, within, self._factors(results), marks)

    def _factors(self, devices: Iterable[str]) -> dict[str, SpeedFactor]:
        found = {each: self.ledger.factors(class_of(each)).get(each) for each in devices}
        return {name: each for name, each in found.items() if each is not None and each.kernels}

    def _deliver(self, device: str, outcome: Finished) -> DeviceResult:
        result = self.deploy(self.result(device, outcome), self._folder)
        write_result(self._folder, result)
        write_choices(self._folder, self.choices(device))
        return result

    def _bundle(self, folder: Path, result: DeviceResult) -> DeviceResult:
        """Write a bundle; the result, with the certificate that names what the bundle takes to the byte.

        What an earlier execution handed over with the same certificate stays.
        """
        configuration = result.configuration
        if (kept := same_bundle(folder, result)) is not None:
            return replace(result, certificate=kept.manifest.certificate)
        executable = self._site.work.deployed(configuration.device_class, selection_of(configuration))
        bundle = self._delivery.write_bundle(folder, result, executable)
        return replace(result, certificate=bundle.manifest.certificate)

    def _evidence(self, result: DeviceResult, estimates: Mapping[str, list[KernelEstimate]]) -> Evidence:
        device, device_class = result.configuration.device, result.configuration.device_class
        cpu = self._site.descriptions[device_class].cpu
        return evidence_of(self._delivery, result, self.choices(device), estimates[device_class], cpu)

    def choices(self, device: str) -> Choices:
        """What the device can choose from, once its exact configuration has run."""
        return self._delivery.choices(device, self._site.job.verify.headroom)

    def _policy(self) -> Policy:
        verify = self._site.job.verify
        measure = self._site.job.measure
        tolerance = Tolerance(measure.tolerance_pp, measure.tolerance)
        profiled = PROFILED if measure.context else 0
        return Policy(
            verify.rounds, verify.headroom, verify.evaluations, tolerance, verify.confidence, profiled
        )

    def _wanted(self) -> dict[str, list[str]]:
        stated = self._site.job.measure
        first = {
            name: plan.table.requests
            if stated.everything
            else first_requests(plan.table, stated.predicted_share)
            for name, plan in self._plans.items()
        }
        return {
            name: [each for each in keys if each not in self.ledger.settled(name)]
            for name, keys in first.items()
        }

    def _common(self) -> dict[str, list[str]]:
        """What every unit measures, without what works on none."""
        count = self._site.job.measure.common_requests
        return {
            name: [
                each for each in common_requests(plan.table, count) if each not in self.ledger.failures(name)
            ]
            for name, plan in self._plans.items()
        }

    def _layers(self) -> list[str]:
        return [
            layer
            for layer, names in self._site.material.anchors.items()
            if self.ledger.missing_approximations(layer, names)
        ]

    def _scope(self) -> Scope:
        material = self._site.material
        return Scope(
            network=material.network.sha256,
            calibration=material.calibration.sha256,
            evaluation=material.evaluation.sha256,
            kernel_versions=kernel_versions(),
            accuracy_versions=accuracy_versions(),
            percentiles={name: each.bounds.percentile for name, each in self._goals.items()},
            confidence=self._site.job.verify.confidence,
            context=self._site.job.measure.context,
        )

    def _round_terms(self) -> str:
        goals = {name: str(each) for name, each in sorted(self._goals.items())}
        return (
            f"{goals}, {self._site.job.verify}, {accuracy_versions()}, {self._site.material.network.sha256}"
        )

    def _record(self, verdicts: Mapping[str, str], *, finished: bool) -> RunRecord:
        site = self._site
        return RunRecord(
            name=site.job.name,
            run_file=str(self._path.absolute()),
            network=site.material.network.name,
            network_sha256=site.material.network.sha256,
            tracker=EMBEDDED if site.embedded else str(site.tracker),
            store=str(self._store.path.absolute()),
            started=self._started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds") if finished else None,
            verdicts=dict(verdicts),
            versions={"results": accuracy_versions(), "blinknet": fingerprint()},
        )
