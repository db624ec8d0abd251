"""Hands over what a run found: one configuration file and one bundle for each device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.certify import VERDICTS, Terms, certificate_of, configuration_of
from cluster.choices import Choices
from cluster.decision import Finished
from cluster.device_result import DeviceResult
from cluster.errors import ClusterError
from cluster.goal import Goal
from cluster.ledger import Ledger, class_of
from cluster.model import problem_of
from cluster.selection import Selection
from cost_model.measurement import Evaluation, NetworkRun
from network.layers import Network, with_batch
from network.target import Target
from runtime.bounds import Bounds, ResolvedBounds
from runtime.bundle import Bundle, write_bundle
from runtime.configuration import Certificate, Configuration, Verdict
from runtime.errors import BundleError
from tracker.device import DeviceKey
from workers.build import Executable


@dataclass(frozen=True, slots=True)
class Delivery:
    """Everything that is the same for all devices of a run."""

    network: Network
    targets: Mapping[str, Target]
    ledger: Ledger
    goals: Mapping[str, Goal]

    def result(self, device: str, outcome: Finished, rounds: int) -> DeviceResult:
        """The device's configuration with the certificate of its latest run."""
        runs = reversed(self.ledger.network_runs(device))
        run = next(each for each in runs if each.configuration == outcome.selection.key)
        goal = self.goals[class_of(device)]
        certificate = self._certificate(run, self.ledger.answers(run), VERDICTS[outcome.verdict], rounds)
        return DeviceResult(
            self._configuration(device, outcome.selection),
            goal.bounds,
            goal.bounds.resolve(certificate.exact),
            certificate,
            outcome.nearest,
            goal.objective,
        )

    def exact_result(self, device: str) -> DeviceResult:
        """The exact configuration of a device, likewise; no bound is stated for it."""
        exact = self.ledger.exact_run(device)
        if exact is None:
            raise ClusterError(f"the exact configuration never ran on {device}; run `blinknet run` again")
        certificate = self._certificate(exact, self.ledger.answers(exact), "holds", rounds=0)
        configuration = self._configuration(device, Selection.from_key(exact.configuration))
        return DeviceResult(configuration, Bounds(), ResolvedBounds(), certificate, {})

    def choices(self, device: str, headroom: float) -> Choices:
        """What the device can choose from, for later questions."""
        table, knowledge = self.ledger.tables[class_of(device)], self.ledger.knowledge(device)
        goal = self.goals[class_of(device)]
        return Choices(
            device,
            goal.bounds,
            knowledge.runs[0].exact,
            headroom,
            problem_of(table, knowledge),
            knowledge.accuracy.curve,
            goal.objective,
            self._emulated(device),
            knowledge.accuracy.law,
            self.targets[class_of(device)].key,
        )

    def write_bundle(self, folder: Path, result: DeviceResult, executable: Executable) -> Bundle:
        """The bundle of one device, whole or not at all; raises ``BundleError``."""
        return self._write(folder, result.configuration, result.certificate, executable)

    def bundle_bytes(self, run: NetworkRun, answers: Evaluation, executable: Executable) -> int:
        """What the run's configuration would take on the device's disk, certificate included."""
        configuration = self._configuration(run.device, Selection.from_key(run.configuration))
        certificate = self._certificate(run, answers, "holds", rounds=0)
        with TemporaryDirectory(prefix="blinknet-bundle-") as temporary:
            return self._write(
                Path(temporary) / "bundle", configuration, certificate, executable
            ).storage_bytes

    def _configuration(self, device: str, selection: Selection) -> Configuration:
        table, knowledge = self.ledger.tables[class_of(device)], self.ledger.knowledge(device)
        key, emulated = DeviceKey.parse(device), self._emulated(device)
        return configuration_of(self.network, key, table, knowledge, selection, emulated=emulated)

    def _emulated(self, device: str) -> bool:
        return self.targets[class_of(device)].emulated

    def _certificate(
        self, run: NetworkRun, answers: Evaluation, verdict: Verdict, rounds: int
    ) -> Certificate:
        exact = self.ledger.exact_run(run.device)
        exact_answers = answers if exact is None else self.ledger.answers(exact)
        bounds, emulated = self.goals[run.device_class].bounds, self._emulated(run.device)
        looks = max(1, rounds) if bounds.loss or bounds.accuracy else 1
        confidence = self.ledger.scope.confidence
        terms = Terms(verdict, bounds.percentile, confidence, rounds, emulated, looks)
        return certificate_of(run, exact or run, answers, exact_answers, terms)

    def _write(
        self,
        folder: Path,
        configuration: Configuration,
        certificate: Certificate | None,
        executable: Executable,
    ) -> Bundle:
        with TemporaryDirectory(prefix="blinknet-library-") as temporary:
            library = Path(temporary) / "network.so"
            library.write_bytes(executable.library)
            return write_bundle(
                folder,
                library,
                executable.parameters,
                configuration,
                certificate,
                input_shape=with_batch(self.network.input_shapes),
                output_shape=with_batch(self.network.output_shapes),
                requires=self.targets[configuration.device_class].isa.requires,
            )


def same_bundle(folder: Path, result: DeviceResult) -> Bundle | None:
    """The bundle that is there, if it is whole, of the same configuration, and certified by the same run."""
    try:
        bundle = Bundle.open(folder)
    except BundleError:
        return None
    before, now = bundle.manifest.certificate, result.certificate
    if before is None or now is None or bundle.manifest.configuration != result.configuration:
        return None
    known = replace(now, issued=before.issued, storage_bytes=before.storage_bytes)
    return bundle if before == known else None
