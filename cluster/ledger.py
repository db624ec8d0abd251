"""What the store knows for one run, in the form in which decisions want it.

The only place where a run reads and appends records. Everything is keyed by content, so that another run with
the same kernels, network or samples finds what is already there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median

from cluster.joint_loss import JointLoss
from cluster.model import Knowledge, Run
from cluster.selection import Selection
from cluster.table import Table
from cost_model.accuracy import EXACT, AccuracyModel
from cost_model.context_reading import ContextReading
from cost_model.device_event import DeviceEvent
from cost_model.features import Sample
from cost_model.felt import NOTHING_FELT, Pair, Trait
from cost_model.fingerprint import Fingerprint, fingerprint_of, known_fingerprint
from cost_model.in_context import InContext, Reading, footprints
from cost_model.latency import LatencyModel
from cost_model.measurement import (
    Evaluation,
    Measurement,
    NetworkRun,
    configuration_key,
    configuration_variants,
)
from cost_model.speed_factors import SpeedFactor, speed_factors
from cost_model.store import Store
from runtime.configuration import Costs, percentile_upper_bound
from tracker.device import Description


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
    context: bool = True
    """Whether readings in context are believed."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Measurements of one device, and how many say less than they should."""

    measurements: int
    marked: int
    counts: Mapping[str, int]
    """Mark to how many bear it; one may bear several."""

    def __str__(self) -> str:
        if not self.marked:
            return f"none of its {self.measurements} measurements is marked"
        words = {"spread": "with a wide spread", "drift": "corrected for drift", "hot": "taken hot"}
        counted = ", ".join(
            f"{self.counts[name]} {word}" for name, word in words.items() if self.counts.get(name)
        )
        return f"{self.marked} of its {self.measurements} measurements are marked: {counted}"


class Ledger:
    """Reads the store once, appends to it, and answers from memory."""

    def __init__(
        self,
        store: Store,
        scope: Scope,
        tables: Mapping[str, Table],
        traits: Mapping[Pair, Trait] = NOTHING_FELT,
    ) -> None:
        """``traits``: of approximations that need not be evaluated, each alone."""
        self._traits = traits
        self._store = store
        self.scope = scope
        self.tables = tables
        network, kernels = scope.network, scope.kernel_versions
        self._measured = {
            name: store.unit_measurements(name, table.target, kernels) for name, table in tables.items()
        }
        self._evaluated = store.evaluations(network, scope.calibration, scope.accuracy_versions)
        self._answered = {
            name: store.evaluations(network, scope.evaluation, self.answer_versions(name)) for name in tables
        }
        self._runs = {
            name: list(store.runs(network, name, table.target, self.answer_versions(name)))
            for name, table in tables.items()
        }
        self._read = {
            name: list(store.context_readings(name, table.target, kernels, network))
            for name, table in tables.items()
        }
        self._latencies: dict[str, dict[str, float]] | None = None
        self._at_best: dict[str, dict[str, float]] = {}
        self._model: LatencyModel | None = None
        self._factors: dict[str, dict[str, SpeedFactor]] = {}
        self._contexts: dict[str, InContext] = {}
        self._accuracy: tuple[int, AccuracyModel] | None = None

    # --- appending

    def add_measurements(
        self, device_class: str, measurements: Iterable[Measurement], *, each_unit: bool = False
    ) -> None:
        """Keep measurements and failures of one class; with ``each_unit`` what others have measured too."""
        kept = list(measurements)
        self._store.append_measurements(kept, each_unit=each_unit)
        for each in kept:
            self._measured[device_class].setdefault(each.kernel, {})[each.device] = each
        self._latencies = None
        self._factors.pop(device_class, None)
        self._contexts.pop(device_class, None)

    def add_context_readings(self, device_class: str, readings: Iterable[ContextReading]) -> None:
        """Keep what kernels took at their places in configurations that ran; every take counts."""
        kept = list(readings)
        self._store.append_context_readings(kept, force=True)
        self._read[device_class].extend(kept)
        self._contexts.pop(device_class, None)

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

    @property
    def measurements(self) -> int:
        """How many there are of this run's kernels, on all devices."""
        return sum(len(units) for known in self._measured.values() for units in known.values())

    def fit_to_everything(self) -> None:
        """Forget a model that was good enough to go on with: what follows depends on the store alone."""
        self._model = self._latencies = None

    # --- asking

    def fingerprint(self, device: str, description: Description) -> Fingerprint | None:
        """What the device can do, if it was ever measured while it described itself like this."""
        return known_fingerprint(self._store.device_events(device), description)

    def settled(self, device_class: str) -> frozenset[str]:
        """Requests that were measured on the class or are known to fail there."""
        return frozenset(self._measured[device_class])

    def failures(self, device_class: str) -> dict[str, str]:
        """Request to the reason why it gives no latency on the class: on no unit of it."""
        return {
            key: next(reversed([str(each.failure) for each in units.values()]))
            for key, units in self._measured[device_class].items()
            if all(each.failure for each in units.values())
        }

    def measured_by(self) -> dict[str, set[str]]:
        """Device to the requests that it has measured itself, failures included."""
        found: dict[str, set[str]] = {}
        for units in (units for known in self._measured.values() for units in known.values()):
            for device, each in units.items():
                found.setdefault(device, set()).add(each.kernel)
        return found

    def factors(self, device_class: str) -> Mapping[str, SpeedFactor]:
        """Unit to its speed factor, of those that have measured something."""
        if device_class not in self._factors:
            self._factors[device_class] = speed_factors(self._medians(device_class))
        return self._factors[device_class]

    def factor(self, device: str) -> float:
        """What the device takes by what its class's middle unit takes; 1 where that is not known."""
        return self.factors(class_of(device)).get(device, SpeedFactor()).factor

    def slowest_first(self, devices: Iterable[str]) -> tuple[str, ...]:
        """By their speed factors; equal ones as they were given."""
        return tuple(sorted(devices, key=lambda device: -self.factor(device)))

    def marks(self, device: str) -> Marks:
        """How many of the device's measurements say less than they should, and why."""
        own = (units.get(device) for units in self._measured[class_of(device)].values())
        timed = [each for each in own if each is not None and each.failure is None]
        counts = Counter(mark for each in timed for mark in each.marks)
        return Marks(len(timed), sum(bool(each.marks) for each in timed), counts)

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
            latency_s=self._on(device, self.latencies()[device_class]),
            settled=self.settled(device_class),
            at_best_s=self._on(device, self._at_best.get(device_class, {})),
            divergence={(layer, name): accuracy.divergence({layer: name}) for layer, name in names},
            joint=self._joint_losses(device_class),
            runs=tuple(self.runs(device)),
            accuracy=accuracy,
            context=self._in_context(device),
        )

    def latencies(self) -> dict[str, dict[str, float]]:
        """Class to request to seconds on its middle unit: measured, else predicted; what fails is missing."""
        if self._latencies is None:
            self._latencies = self._fit_latencies()
        return self._latencies

    def accuracy(self) -> AccuracyModel:
        """The accuracy model, fitted to every evaluation on calibration samples."""
        if self._accuracy is None or self._accuracy[0] != len(self._evaluated):
            self._accuracy = (len(self._evaluated), AccuracyModel.fit(self._evaluated.values(), self._traits))
        return self._accuracy[1]

    def samples(self) -> list[Sample]:
        """Every measured kernel of every class with its median on the middle unit, in a stable order."""
        normalised = {name: self._normalised(name) for name in self.tables}
        return [
            replace(sample, seconds=normalised[name][key], weight=self._weight(name, key))
            for name, table in sorted(self.tables.items())
            for key, sample in sorted(table.samples.items())
            if key in normalised[name]
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
            run.spread(self.scope.percentiles[run.device_class]),
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

    def _on(self, device: str, seconds: Mapping[str, float]) -> Mapping[str, float]:
        """On one unit what its class's middle unit takes so many seconds for: all times its factor."""
        factor = self.factor(device)
        return seconds if factor == 1.0 else {key: factor * each for key, each in seconds.items()}

    def _in_context(self, device: str) -> InContext | None:
        """What the network's kernels take at their places on one unit: all times its factor."""
        device_class = class_of(device)
        if not self.scope.context or not self._read[device_class]:
            return None
        if device_class not in self._contexts:
            self._contexts[device_class] = self._context(device_class)
        context, factor = self._contexts[device_class], self.factor(device)
        return context if factor == 1.0 else context.times(factor)

    def _context(self, device_class: str) -> InContext:
        """The same on the class's middle unit."""
        samples, read = self.tables[device_class].samples, self._read[device_class]
        sizes = {key: each.work.parameter_bytes for key, each in samples.items()}
        sized = footprints(read, sizes)
        readings = [
            Reading(
                (each.layer, each.kernel),
                sized[each.configuration],
                each.median_s / self.factor(each.device),
            )
            for each in read
        ]
        rest_s = median(each.rest_s / self.factor(each.device) for each in read)
        return InContext(readings, rest_s, self._normalised(device_class), sizes)

    def _normalised(self, device_class: str) -> dict[str, float]:
        """Request to what it takes on the middle unit: what was measured, by the measuring unit's factor."""
        factors = self.factors(device_class)
        return {
            key: median(each / factors[unit].factor for unit, each in units.items())
            for key, units in self._medians(device_class).items()
        }

    def _weight(self, device_class: str, request: str) -> float:
        """Of the unit whose measurement is to be trusted most."""
        units = self._measured[device_class][request].values()
        return max(each.weight for each in units if each.failure is None)

    def _medians(self, device_class: str) -> dict[str, dict[str, float]]:
        """Request to unit to its median seconds, without what failed."""
        measured = {
            key: {unit: each.median_s for unit, each in units.items() if each.failure is None}
            for key, units in self._measured[device_class].items()
        }
        return {key: units for key, units in measured.items() if units}

    def fingerprints(self) -> dict[str, Fingerprint]:
        """Class to the latest fingerprint of any of its units, where one was ever taken."""
        events = self._store.device_events()
        found = ((class_of(each.device), fingerprint_of(each)) for each in events)
        return {name: each for name, each in found if each is not None and name in self.tables}

    def _latency_model(self) -> LatencyModel | None:
        """Fitted anew where that pays (``LatencyModel.outdated``); None before anything is measured."""
        samples = self.samples()
        if samples and (self._model is None or self._model.outdated(samples)):
            self._model = LatencyModel.fit(samples, self.fingerprints())
        return self._model

    def _fit_latencies(self) -> dict[str, dict[str, float]]:
        """Measured medians, and predictions for what was not tried, of every class."""
        known = {name: self._normalised(name) for name in self._measured}
        self._at_best = {}
        model = self._latency_model()
        if model is None:
            return known
        for name, table in self.tables.items():
            unseen = [table.samples[key] for key in table.requests if key not in self._measured[name]]
            if unseen and known[name]:
                keys = [each.kernel for each in unseen]
                predicted, at_best = (each.tolist() for each in model.predict_at_best_s(unseen))
                known[name].update(zip(keys, predicted, strict=True))
                self._at_best[name] = dict(zip(keys, at_best, strict=True))
        return known


def class_of(device: str) -> str:
    """The class in ``CLASS.UNIT``."""
    return device.partition(".")[0]
