"""Commands as Ray tasks: what each needs, put into the object store once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ray

from cluster.events import Batch
from cluster.job import Material
from cluster.planning import ClassPlan, KernelRequest
from cluster.selection import Selection, places_of
from cluster.settings import RunFile
from network.answers import Answers
from network.clocked import Chosen
from network.target import Target
from tracker.cooling import Cooling
from tracker.device import Description
from tracker.drift import DriftPolicy
from tracker.timing import TimingPolicy
from workers.accuracy import Bench, Effect, effect
from workers.build import Executable
from workers.fingerprint_kernels import buffer_bytes
from workers.steady import Hygiene
from workers.tasks import (
    answer_exactly,
    assemble_clocked,
    assemble_configuration,
    build_fingerprint_library,
    build_library,
    evaluate_jointly,
    evaluate_one_layer,
    refit_jointly,
)


class Work:
    """Starts the tasks of one run; every method returns an object reference."""

    def __init__(
        self, run: RunFile, material: Material, plans: Mapping[str, ClassPlan], host_cores: Sequence[int]
    ) -> None:
        """``host_cores`` are those on which this machine may compile while its others are being timed."""
        self._run = run
        self._plans = plans
        self.anchors = material.anchors
        self._labels = material.evaluation.right
        self._exact: dict[str, Any] = {}
        self._host_cores = tuple(host_cores)
        self._network = ray.put(material.network)
        self._bench = ray.put(Bench(material.known, material.calibration))
        self._inputs = {
            "calibration": material.calibration.inputs,
            "evaluation": ray.put(material.evaluation.inputs),
        }
        self._outputs = tuple(each.shape for each in material.network.outputs)
        self._refitted: dict[tuple[str, ...], Any] = {}
        self._executables: dict[tuple[str, str], Any] = {}
        self._profiles: dict[tuple[str, tuple[Selection, ...]], Any] = {}
        self._libraries: dict[int, Any] = {}
        self._unsettled: dict[str, dict[int, set[str]]] = {name: {} for name in plans}
        """Of each library, by class: a batch may be split when a session dies of one of its requests."""
        self._fingerprints: dict[tuple[str, int], Any] = {}

    def build(self, batch: Batch) -> Any:
        """A ``Library`` of the batch's requests; kept until a device is through with it."""
        plan = self._plans[batch.device_class]
        kernels = [plan.kernels[each] for each in batch.requests]
        self._libraries[batch.number] = build_library.remote(kernels, plan.target, self._host_cores)
        self._unsettled[batch.device_class][batch.number] = set(batch.requests)
        return self._libraries[batch.number]

    def measure(self, actor: Any, batch: Batch) -> Any:
        """A ``BatchResult`` of what is left to measure of a batch."""
        plan = self._plans[batch.device_class]
        arguments = {each: plan.kernels[each][0].arguments(plan.target.isa) for each in batch.requests}
        stated = self._run.measure
        policy = TimingPolicy(relative_ci=stated.relative_ci, budget_s=stated.budget_s)
        cooling = Cooling(max_c=stated.max_temperature_c, patience_s=stated.cool_down_s)
        hygiene = Hygiene(DriftPolicy(stated.drift), cooling)
        return actor.measure.remote(self._libraries[batch.number], arguments, policy, hygiene)

    def fingerprint(self, actor: Any, device_class: str, memory_bytes: int) -> Any:
        """The ``DeviceEvent`` of a device's fingerprint; its library is built once a class and size."""
        key = (device_class, buffer_bytes(memory_bytes))
        if key not in self._fingerprints:
            target = self._plans[device_class].target
            self._fingerprints[key] = build_fingerprint_library.remote(target, key[1], self._host_cores)
        return actor.fingerprint.remote(self._fingerprints[key])

    def settled(self, device_class: str, requests: Iterable[str]) -> None:
        """There is nothing to measure of these: the object store need not keep libraries without any left."""
        libraries, done = self._unsettled[device_class], set(requests)
        for number, left in list(libraries.items()):
            left.difference_update(done)
            if not left:
                del libraries[number], self._libraries[number]

    def evaluate(self, layer: str, approximations: Sequence[str]) -> Any:
        """``LayerEffects`` of these approximations of one layer, everything else exact."""
        return evaluate_one_layer.remote(self._bench, layer, tuple(approximations), self._host_cores)

    def evaluate_jointly(self, variants: Sequence[str]) -> Any:
        """The ``Effect`` of a whole configuration."""
        fitted, exact = self._fitted(tuple(variants)), self._exact_answers("calibration")
        return evaluate_jointly.remote(self._bench, fitted, exact, self._host_cores)

    def executable(self, device_class: str, selection: Selection) -> Any:
        """The ``Executable`` of a selection; assembled once a class."""
        key = (device_class, selection.key)
        if key not in self._executables:
            target = self._plans[device_class].target
            self._executables[key] = self._assemble(selection, target)
        return self._executables[key]

    def run(
        self,
        actor: Any,
        device_class: str,
        selection: Selection,
        exact: Selection,
        limit_bytes: int | None,
    ) -> Any:
        """A ``RunResult`` of a selection beside the exact one; within a memory limit where there is one."""
        candidate, reference = (self.executable(device_class, each) for each in (selection, exact))
        samples, runs = self._inputs["evaluation"], self._run.verify.runs
        return actor.run.remote(candidate, reference, samples, self._outputs, runs, limit_bytes)

    def profile(self, actor: Any, device_class: str, selections: Sequence[Selection]) -> Any:
        """A ``ProfileResult`` of selections; their library is assembled once a class."""
        key = (device_class, tuple(selections))
        if key not in self._profiles:
            plan = self._plans[device_class]
            configurations = [_kernels(plan, each) for each in selections]
            arguments = (self._network, configurations, plan.target, self._host_cores)
            self._profiles[key] = assemble_clocked.remote(*arguments)
        return actor.profile.remote(self._profiles[key])

    def deployed(self, device_class: str, selection: Selection) -> Executable:
        """The same as a value: what goes into the bundle."""
        executable: Executable = ray.get(self.executable(device_class, selection))
        return executable

    def effect(self, answers: Answers) -> Effect:
        """Compare a device's answers to the evaluation samples with the exact network's on this host."""
        return effect(answers, ray.get(self._exact_answers("evaluation")), self._labels)

    def missing_features(self, device_class: str, description: Description) -> tuple[str, ...]:
        """What the class is compiled for and the device does not have."""
        target = self._plans[device_class].target
        architecture, features = description.architecture, description.features
        return target.missing(architecture, features, emulated=description.emulated)

    def _exact_answers(self, samples: str) -> Any:
        """The exact network's answers to calibration or evaluation samples, once."""
        if samples not in self._exact:
            self._exact[samples] = answer_exactly.remote(self._bench, self._inputs[samples], self._host_cores)
        return self._exact[samples]

    def _fitted(self, variants: tuple[str, ...]) -> Any:
        """Layer to ``Fitted``: a whole configuration fitted in context, once for all classes."""
        if variants not in self._refitted:
            self._refitted[variants] = refit_jointly.remote(self._bench, variants, self._host_cores)
        return self._refitted[variants]

    def _assemble(self, selection: Selection, target: Target) -> Any:
        fitted = self._fitted(selection.variants)
        return assemble_configuration.remote(self._network, fitted, selection.tiles, target, self._host_cores)


def _kernels(plan: ClassPlan, selection: Selection) -> Chosen:
    """Layer to the kernels of a selection with their tiles."""
    chosen: dict[str, list[KernelRequest]] = {each[0].layer: [] for each in plan.table.layers}
    for layer, request in places_of(plan.table, selection):
        chosen[layer].append(plan.kernels[request])
    return chosen
