"""``blinknet run``: from a run file to verified configurations, bundles and a report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from cluster import crew
from cluster.choices import write_choices
from cluster.coordinator import Coordinator
from cluster.decision import Finished, Policy
from cluster.delivery import Delivery
from cluster.device_result import DeviceResult
from cluster.embedded import embedded_fleet, host_cores, local_classes
from cluster.errors import ClusterError
from cluster.fleet import Fleet
from cluster.job import Material, load_material, plan, target_of
from cluster.ledger import Ledger, Scope, class_of
from cluster.loop import Loop, Terms
from cluster.outputs import RunFolder, RunRecord, prepare, write_result, write_run
from cluster.planning import ClassPlan, first_requests
from cluster.progress import ProgressView
from cluster.recorder import Recorder
from cluster.rounds import Rounds
from cluster.settings import ClusterSettings, RunFile, load_cluster_settings, load_run_file
from cluster.settings_fields import EMBEDDED
from cluster.work import Work
from cost_model.store import Store
from tracker.address import Address
from tracker.device import Description, DeviceKey
from workers.device import DeviceDriver
from workers.sources import accuracy_versions, fingerprint, kernel_versions

CLUSTER_FILE = Path("ray_config.yaml")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run leaves: a result for each device, or why there is none."""

    folder: RunFolder
    results: Mapping[str, DeviceResult]
    missing: Mapping[str, str]
    """Device, or class without devices, to the reason."""

    @property
    def complete(self) -> bool:
        """Whether every device got a configuration that keeps its bounds."""
        return not self.missing and all(each.verdict == "holds" for each in self.results.values())


def run(path: Path, out: Path, tracker: str | None, console: Console) -> Outcome:
    """Execute a run file; what earlier executions have measured is not measured again.

    Raises errors of our packages for wrong input, before anything is measured.
    """
    job, cluster = load_run_file(path), load_cluster_settings_if_there()
    folder = prepare(out, job.name)
    with ExitStack() as stack:
        store = stack.enter_context(Store(cluster.store or folder.store))
        address, classes = stack.enter_context(_fleet(job, cluster, tracker, console))
        descriptions = survey(Fleet(address, classes), cluster.session_timeout_s)
        names = ", ".join(sorted(map(str, descriptions)))
        console.print(f"devices: {names} at tracker {address}", markup=False, soft_wrap=True)
        # In this thread, alone: Ray forks while it starts, which does not bear numpy's threads at work, and its
        # processes end with the thread that started them.
        crew.connect()
        run_ = _Run(job, cluster, path, folder, load_material(job), address, descriptions, store)
        return run_.execute(console)


def load_cluster_settings_if_there() -> ClusterSettings:
    """Our part of ``ray_config.yaml`` in the current folder; defaults where there is none."""
    return load_cluster_settings(CLUSTER_FILE) if CLUSTER_FILE.is_file() else ClusterSettings()


def survey(fleet: Fleet, session_timeout_s: float) -> dict[DeviceKey, Description]:
    """Ask one device of every class what it is; raises ``ClusterError`` for a class without one."""
    present = sorted(fleet.present())
    first = {key.device_class: key for key in reversed(present)}
    if absent := sorted(fleet.classes - first.keys()):
        raise ClusterError(
            f"the tracker at {fleet.tracker} has no device of class {', '.join(absent)}; register one with "
            f"`blinknet device --tracker {fleet.tracker} --key {absent[0]}.UNIT`, or remove the class's bounds"
        )
    with ThreadPoolExecutor(len(first)) as pool:
        drivers = [DeviceDriver(fleet.tracker, key, session_timeout_s) for key in first.values()]
        answers = dict(zip(first.values(), pool.map(DeviceDriver.describe, drivers), strict=True))
    for key, answer in answers.items():
        if not isinstance(answer, Description):
            raise ClusterError(f"{key} does not answer: {answer}; `blinknet devices` shows who does")
    return {key: answer for key, answer in answers.items() if isinstance(answer, Description)}


@contextmanager
def _fleet(
    job: RunFile, cluster: ClusterSettings, tracker: str | None, console: Console
) -> Iterator[tuple[Address, tuple[str, ...]]]:
    """The tracker's address and the classes that this run configures."""
    stated = (
        Address.parse(tracker) if tracker else job.tracker if job.tracker != EMBEDDED else cluster.tracker
    )
    if stated != EMBEDDED:
        yield stated, tuple(job.devices)
        return
    local = local_classes()
    classes = tuple(name for name in job.devices if name in local or not name.startswith("x86-64-"))
    for name in sorted(set(job.devices) - set(classes)):
        console.print(f"left out: this machine's CPU is no {name}", markup=False)
    with embedded_fleet(classes) as address:
        yield address, classes


class _Run:
    """One execution: what it needs, wired together."""

    def __init__(
        self,
        job: RunFile,
        cluster: ClusterSettings,
        path: Path,
        folder: RunFolder,
        material: Material,
        tracker: Address,
        descriptions: Mapping[DeviceKey, Description],
        store: Store,
    ) -> None:
        self.job, self.cluster, self.path, self.folder = job, cluster, path, folder
        self.material, self.tracker, self.descriptions = material, tracker, descriptions
        self.store = store
        self.started = datetime.now(UTC)
        classes = {key.device_class: answer for key, answer in descriptions.items()}
        self.bounds = {name: job.devices[name].bounds for name in classes}
        targets = {name: target_of(job.devices[name], answer) for name, answer in classes.items()}
        self.plans: dict[str, ClassPlan] = plan(material, targets)
        self.ledger = Ledger(store, self._scope(), {name: each.table for name, each in self.plans.items()})
        self.delivery = Delivery(material.network, targets, self.ledger, self.bounds)
        self.rounds = Rounds(folder.path / "rounds.json", self._round_terms())

    def execute(self, console: Console) -> Outcome:
        """Measure, decide and verify what is not known yet, then hand everything over."""
        write_run(self.folder, self._record({}, finished=False))
        coordinator = Coordinator(self._wanted(), self._layers(), build_slots=self.cluster.build_cpus)
        work = Work(self.job, self.material, self.plans, self._host_cores())
        team = crew.Crew(self.tracker, self.cluster.session_timeout_s)
        names = [layer.name for layer in self.material.network.layers]
        recorder = Recorder(self.ledger, names, self.delivery.bundle_bytes)
        terms = Terms(self.bounds, Policy(self.job.verify.rounds, self.job.verify.headroom))
        fleet = Fleet(self.tracker, self.bounds)
        try:
            with ProgressView(console) as view:
                Loop(coordinator, self.ledger, recorder, self.rounds, team, fleet, work, terms).run(view)
            return self._hand_over(coordinator, work)
        finally:
            team.close()

    def _hand_over(self, coordinator: Coordinator, work: Work) -> Outcome:
        results: dict[str, DeviceResult] = {}
        missing = dict(coordinator.abandoned)
        for device, outcome in sorted(coordinator.outcomes.items()):
            if not isinstance(outcome, Finished):
                missing[device] = outcome
                continue
            result = self.delivery.result(device, outcome, self.rounds.of(device))
            executable = work.deployed(result.configuration.device_class, outcome.selection)
            self.delivery.write_bundle(self.folder.bundle(device), result, executable)
            write_result(self.folder, result)
            self._write_exact(device, work)
            write_choices(self.folder, self.delivery.choices(device, self.job.verify.headroom))
            results[device] = result
        write_run(
            self.folder, self._record({name: each.verdict for name, each in results.items()}, finished=True)
        )
        return Outcome(self.folder, results, missing)

    def _write_exact(self, device: str, work: Work) -> None:
        exact = self.delivery.exact_result(device)
        executable = work.deployed(class_of(device), self.ledger.exact_selection(device))
        self.delivery.write_bundle(self.folder.exact_bundle(device), exact, executable)

    def _wanted(self) -> dict[str, list[str]]:
        return {
            name: [
                each
                for each in first_requests(plan.table, self.job.measure.predicted_share)
                if each not in self.ledger.settled(name)
            ]
            for name, plan in self.plans.items()
        }

    def _layers(self) -> list[str]:
        return [
            layer
            for layer, names in self.material.approximations.items()
            if self.ledger.missing_approximations(layer, names)
        ]

    def _host_cores(self) -> tuple[int, ...]:
        """Where to compile: not where devices of this machine are being timed."""
        return (
            host_cores(len(self.bounds)) if self.job.tracker == EMBEDDED else tuple(os.sched_getaffinity(0))
        )

    def _scope(self) -> Scope:
        return Scope(
            network=self.material.network.sha256,
            calibration=self.material.calibration.sha256,
            evaluation=self.material.evaluation.sha256,
            kernel_versions=kernel_versions(),
            accuracy_versions=accuracy_versions(),
            percentiles={name: each.percentile for name, each in self.bounds.items()},
            confidence=self.job.verify.confidence,
        )

    def _round_terms(self) -> str:
        bounds = {name: str(each) for name, each in self.bounds.items()}
        return f"{bounds}, {self.job.verify}, {accuracy_versions()}, {self.material.network.sha256}"

    def _record(self, verdicts: Mapping[str, str], *, finished: bool) -> RunRecord:
        return RunRecord(
            name=self.job.name,
            run_file=str(self.path),
            network=self.material.network.name,
            network_sha256=self.material.network.sha256,
            tracker=str(self.tracker) if self.job.tracker != EMBEDDED else EMBEDDED,
            store=str(self.store.path.absolute()),
            started=self.started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds") if finished else None,
            verdicts=dict(verdicts),
            versions={"results": accuracy_versions(), "blinknet": fingerprint()},
        )
