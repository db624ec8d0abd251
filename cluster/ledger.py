"""What the store knows for one run, in the form in which decisions want it.

The only place where a run reads and appends records. Everything is keyed by content, so that another run with
the same kernels, network or samples finds what is already there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cluster.joint_loss import JointLoss
from cluster.model import Knowledge, Run
from cluster.selection import Selection
from cluster.table import Table
from cost_model.accuracy import EXACT, AccuracyModel
from cost_model.device_event import DeviceEvent
from cost_model.features import Sample
from cost_model.latency import LatencyModel
from cost_model.measurement import (
    Evaluation,
    Measurement,
    NetworkRun,
    configuration_key,
    configuration_variants,
)
from cost_model.store import Store
from runtime.configuration import Costs, percentile_upper_bound


@dataclass(frozen=True, slots=True)
class Scope:
    """What the records of one run have in common."""

    network: str
    """SHA-256 of the network's file."""
    calibration: str
    """Content key of the samples that choices are made on."""
    evaluation: str
    """Content key of the samples that certificates are issued on."""
    kernel_versions: str
    accuracy_versions: str
    percentiles: Mapping[str, float]
    """Class to the latency percentile that its bounds are stated at."""
    confidence: float
    """Of a verified percentile."""


class Ledger:
    """Reads the store once, appends to it, and answers from memory."""

    def __init__(self, store: Store, scope: Scope, tables: Mapping[str, Table]) -> None:
        self._store = store
        self.scope = scope
        self.tables = tables
        network, kernels = scope.network, scope.kernel_versions
        self._measured = {
            name: store.measurements(name, table.target, kernels) for name, table in tables.items()
        }
        self._evaluated = store.evaluations(network, scope.calibration, scope.accuracy_versions)
        self._answered = {
            name: store.evaluations(network, scope.evaluation, self.answer_versions(name)) for name in tables
        }
        self._runs = {
            name: list(store.runs(network, name, table.target, self.answer_versions(name)))
            for name, table in tables.items()
        }
        self._latencies: tuple[int, dict[str, dict[str, float]]] = (-1, {})
        self._accuracy: tuple[int, AccuracyModel] | None = None

    # --- appending

    def add_measurements(self, device_class: str, measurements: Iterable[Measurement]) -> None:
        """Keep measurements and failures of one class."""
        kept = list(measurements)
        self._store.append_measurements(kept)
        self._measured[device_class].update({each.kernel: each for each in kept})

    def add_evaluations(self, evaluations: Iterable[Evaluation]) -> None:
        """Keep evaluations on calibration samples."""
        kept = list(evaluations)
        self._store.append_evaluations(kept)
        self._evaluated.update({each.configuration: each for each in kept})

    def add_run(self, run: NetworkRun, answers: Evaluation) -> None:
        """Keep a run on a device together with its answers on evaluation samples."""
        self._store.append_evaluations([answers])
        self._answered[run.device_class].setdefault(answers.configuration, answers)
        self._store.append_runs([run], force=True)
        self._runs[run.device_class].append(run)

    def add_device_events(self, events: Iterable[DeviceEvent]) -> None:
        """Keep what happened to devices."""
        self._store.append_device_events(events)

    # --- asking

    def settled(self, device_class: str) -> frozenset[str]:
        """Requests that were measured on the class or are known to fail there."""
        return frozenset(self._measured[device_class])

    def failures(self, device_class: str) -> dict[str, str]:
        """Request to the reason why it gives no latency on the class."""
        return {key: each.failure for key, each in self._measured[device_class].items() if each.failure}

    def missing_approximations(self, layer: str, names: Iterable[str]) -> tuple[str, ...]:
        """Approximations of a layer whose effect alone is not known; the exact network's counts for all."""
        if configuration_key({}) not in self._evaluated:
            return tuple(names)
        return tuple(
            name
            for name in names
            if name != EXACT and configuration_key({layer: name}) not in self._evaluated
        )

    def knowledge(self, device: str) -> Knowledge:
        """Everything that is known when a decision for the device is taken."""
        device_class = class_of(device)
        accuracy = self.accuracy()
        names = {
            (candidate.layer, candidate.approximation)
            for candidates in self.tables[device_class].layers
            for candidate in candidates
        }
        return Knowledge(
            latency_s=self.latencies()[device_class],
            settled=self.settled(device_class),
            divergence={(layer, name): accuracy.divergence({layer: name}) for layer, name in names},
            joint=self._joint_losses(device_class),
            runs=tuple(self.runs(device)),
            accuracy=accuracy,
        )

    def latencies(self) -> dict[str, dict[str, float]]:
        """Class to request to seconds: as measured, else as predicted; what fails is missing."""
        version = sum(len(each) for each in self._measured.values())
        if self._latencies[0] != version:
            self._latencies = (version, self._fit_latencies())
        return self._latencies[1]

    def accuracy(self) -> AccuracyModel:
        """The accuracy model, fitted to every evaluation on calibration samples."""
        if self._accuracy is None or self._accuracy[0] != len(self._evaluated):
            self._accuracy = (len(self._evaluated), AccuracyModel.fit(self._evaluated.values()))
        return self._accuracy[1]

    def samples(self) -> list[Sample]:
        """Every measured kernel of every class with its median, in a stable order."""
        return [
            replace(sample, seconds=found.median_s)
            for name, table in sorted(self.tables.items())
            for key, sample in sorted(table.samples.items())
            if (found := self._measured[name].get(key)) is not None and found.failure is None
        ]

    def network_runs(self, device: str) -> list[NetworkRun]:
        """The device's runs in the order in which they were made, without those that were disturbed."""
        device_class = class_of(device)
        percentile = self.scope.percentiles[device_class]
        runs = (each for each in self._runs[device_class] if each.device == device)
        return [each for each in runs if not each.disturbed(percentile)]

    def runs(self, device: str) -> list[Run]:
        """The same as decisions want them: percentile bounds, and accuracies on evaluation samples."""
        exact = self.exact_run(device)
        return [] if exact is None else [self._run(each, exact) for each in self.network_runs(device)]

    def exact_run(self, device: str) -> NetworkRun | None:
        """The device's first run of the exact configuration: what relative bounds refer to."""
        variants = self.tables[class_of(device)].uniform_variants(EXACT)
        runs = self.network_runs(device)
        return next(
            (each for each in runs if Selection.from_key(each.configuration).variants == variants), None
        )

    def exact_selection(self, device: str) -> Selection | None:
        """What ran then."""
        run = self.exact_run(device)
        return None if run is None else Selection.from_key(run.configuration)

    def answers(self, run: NetworkRun) -> Evaluation:
        """How the run's configuration answered the evaluation samples on a device of the class."""
        names = [candidates[0].layer for candidates in self.tables[run.device_class].layers]
        variants = Selection.from_key(run.configuration).variants
        return self._answered[run.device_class][configuration_key(dict(zip(names, variants, strict=True)))]

    def answer_versions(self, device_class: str) -> str:
        """Version key of answers that a device of the class gave."""
        return f"{self.scope.accuracy_versions}, on {self.tables[device_class].target}"

    def _run(self, run: NetworkRun, exact: NetworkRun) -> Run:
        answers, exact_answers = self.answers(run), self.answers(exact)
        loss_pp = 100 * (exact_answers.accuracy - answers.accuracy)
        latency_s, exact_latency_s = (
            percentile_upper_bound(each, self.scope.percentiles[run.device_class], self.scope.confidence)
            for each in (run.seconds, run.exact_seconds)
        )
        return Run(
            Selection.from_key(run.configuration),
            Costs(latency_s, run.peak_bytes, run.storage_bytes, loss_pp, answers.accuracy),
            Costs(exact_latency_s, exact.peak_bytes, exact.storage_bytes, 0.0, exact_answers.accuracy),
        )

    def _joint_losses(self, device_class: str) -> dict[tuple[str, ...], JointLoss]:
        table, exact = self.tables[device_class], self._evaluated[configuration_key({})]
        names = [candidates[0].layer for candidates in table.layers]
        every = ((configuration_variants(key), each) for key, each in self._evaluated.items())
        found = {
            tuple(variants[name] for name in names): JointLoss.beside(exact, each)
            for variants, each in every
            if len(variants) == len(names)
        }
        return found | {table.uniform_variants(EXACT): JointLoss.beside(exact, exact)}

    def _fit_latencies(self) -> dict[str, dict[str, float]]:
        """Measured medians, and predictions for what was not tried, of every class."""
        known = {
            name: {key: each.median_s for key, each in found.items() if each.failure is None}
            for name, found in self._measured.items()
        }
        samples = self.samples()
        if not samples:
            return known
        model = LatencyModel.fit(samples)
        for name, table in self.tables.items():
            unseen = [table.samples[key] for key in table.requests if key not in self._measured[name]]
            if unseen and known[name]:
                predicted = model.predict_s(unseen).tolist()
                known[name].update(zip((each.kernel for each in unseen), predicted, strict=True))
        return known


def class_of(device: str) -> str:
    """The class in ``CLASS.UNIT``."""
    return device.partition(".")[0]
