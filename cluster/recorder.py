"""From what workers return to the store's records. A failure is recorded like a measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from cluster.ledger import Ledger, class_of
from cluster.selection import Selection
from cost_model.context_reading import ContextReading
from cost_model.device_event import DeviceEvent
from cost_model.measurement import Evaluation, Measurement, NetworkRun, configuration_key
from tracker.drift import Drift
from tracker.failure import Failure
from tracker.timing import Timing
from workers.accuracy import Effect, LayerEffects
from workers.build import Executable
from workers.device import ProfileResult, RunResult


class Recorder:
    """Appends to a ledger; ``weigh`` says what a run's bundle takes on disk, in bytes."""

    def __init__(
        self,
        ledger: Ledger,
        layers: Sequence[str],
        weigh: Callable[[NetworkRun, Evaluation, Executable], int],
    ) -> None:
        self._ledger = ledger
        self._weigh = weigh
        self._layers = tuple(layers)

    def timings(
        self, device: str, timings: Mapping[str, Timing | Failure], *, each_unit: bool = False
    ) -> None:
        """Results of one batch; ``each_unit`` of the class measures it."""
        measured = [self._measurement(device, key, each) for key, each in timings.items()]
        self._ledger.add_measurements(class_of(device), measured, each_unit=each_unit)

    def fingerprint(self, device: str, result: object) -> None:
        """A device's fingerprint, or why it could not be taken."""
        if isinstance(result, DeviceEvent):
            self._ledger.add_device_events([result])
        else:
            self.device_event(device, "fault", f"no fingerprint: {result}")

    def drift(self, device: str, drift: Drift) -> None:
        """That a device did not stay as fast as it was while it measured."""
        change = "slower" if drift.share > 0 else "faster"
        reason = f"{abs(drift.share):.0%} {change} than at the beginning of the batch"
        self._ledger.add_device_events([DeviceEvent(device, "drift", reason, time.time(), asdict(drift))])

    def failures(self, device_class: str, reasons: Mapping[str, str]) -> None:
        """Requests that give no latency on a class, whatever the unit."""
        device = f"{device_class}.-"
        refused = {key: Failure("build", reason, device, "build") for key, reason in reasons.items()}
        self.timings(device, refused)

    def device_event(self, device: str, kind: str, reason: str) -> None:
        """What happened to a device, now."""
        self._ledger.add_device_events([DeviceEvent(device, kind, reason, time.time())])

    def layer_effects(self, layer: str, result: LayerEffects) -> None:
        """Effects of one layer's approximations alone, and the exact network's answers."""
        alone = [self._evaluation({layer: name}, each) for name, each in result.effects.items()]
        self._ledger.add_evaluations([self._evaluation({}, result.exact), *alone])

    def joint_effect(self, variants: Sequence[str], result: Effect) -> None:
        """Effect of a whole configuration."""
        self._ledger.add_evaluations([self._evaluation(self._named(variants), result)])

    def run(
        self, device: str, selection: Selection, result: RunResult, effect: Effect, executable: Executable
    ) -> NetworkRun:
        """A configuration that ran on the device, and its answers to the evaluation samples, as stored."""
        device_class, ledger = class_of(device), self._ledger
        exact, versions = ledger.exact_run(device), ledger.answer_versions(device_class)
        answers = Evaluation(
            network=ledger.scope.network,
            samples=ledger.scope.evaluation,
            configuration=configuration_key(self._named(selection.variants)),
            versions=versions,
            count=effect.count,
            correct=effect.correct,
            divergence=effect.divergence,
            gained=effect.gained,
            lost=effect.lost,
        )
        run = NetworkRun(
            configuration=selection.key,
            network=ledger.scope.network,
            device_class=device_class,
            target=ledger.tables[device_class].target,
            versions=versions,
            device=device,
            seconds=result.seconds,
            exact_seconds=result.exact_seconds,
            peak_bytes=result.peak_bytes,
            exact_peak_bytes=result.peak_bytes if exact is None else exact.peak_bytes,
            library_bytes=len(executable.library),
            storage_bytes=0,
            sessions=result.sessions,
        )
        run = replace(run, storage_bytes=self._weigh(run, answers, executable))
        ledger.add_run(run, answers)
        return run

    def profile(self, device: str, selections: Sequence[Selection], result: ProfileResult) -> None:
        """What every kernel of configurations took at its place."""
        device_class, scope = class_of(device), self._ledger.scope
        conditions = {"taken": datetime.now(UTC).isoformat(timespec="seconds")}
        readings = [
            ContextReading(
                kernel=kernel.request,
                network=scope.network,
                layer=kernel.layer,
                step=kernel.step,
                configuration=selection.key,
                device_class=device_class,
                target=self._ledger.tables[device_class].target,
                versions=scope.kernel_versions,
                device=device,
                seconds=kernel.seconds,
                clock_s=network.clock_s,
                rest_s=network.rest_s,
                conditions=conditions,
            )
            for selection, network in zip(selections, result.networks, strict=True)
            for kernel in network.kernels
        ]
        self._ledger.add_context_readings(device_class, readings)

    def _measurement(self, device: str, key: str, outcome: Timing | Failure) -> Measurement:
        device_class, timed = class_of(device), isinstance(outcome, Timing)
        return Measurement(
            kernel=key,
            device_class=device_class,
            target=self._ledger.tables[device_class].target,
            versions=self._ledger.scope.kernel_versions,
            device=device,
            number=outcome.number if isinstance(outcome, Timing) else 0,
            seconds=outcome.seconds if isinstance(outcome, Timing) else (),
            converged=outcome.converged if isinstance(outcome, Timing) else False,
            conditions={
                "taken": datetime.now(UTC).isoformat(timespec="seconds"),
                **(outcome.conditions if isinstance(outcome, Timing) else {}),
            },
            failure=None if timed else str(outcome),
        )

    def _evaluation(self, variants: Mapping[str, str], effect: Effect) -> Evaluation:
        scope = self._ledger.scope
        return Evaluation(
            scope.network,
            scope.calibration,
            configuration_key(variants),
            scope.accuracy_versions,
            effect.count,
            effect.correct,
            effect.divergence,
            gained=effect.gained,
            lost=effect.lost,
        )

    def _named(self, variants: Sequence[str]) -> dict[str, str]:
        return dict(zip(self._layers, variants, strict=True))
