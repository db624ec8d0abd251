"""CIFAR-10-quick with some variants that a run has measured, and what its configurations really answer.

Only variants whose kernels were all timed on the device are left, so that every latency is a sum of measured
ones; of these, for each layer and element type, the whole layer and others from the slowest to the fastest,
few enough that every configuration can be evaluated as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isfinite
from pathlib import Path

import numpy as np

from benchmarks.jobs import run_file
from cluster.decision import UNIFORM
from cluster.job import Material, load_inputs, load_material
from cluster.planning import plan_class
from cluster.selection import candidate_latency_s
from cluster.settings import load_run_file
from cluster.table import Candidate, Table
from cost_model.accuracy import EXACT
from cost_model.measurement import Evaluation, configuration_key
from cost_model.store import Store
from network.target import Target
from workers.accuracy import (
    Bench,
    Effect,
    evaluate_configuration,
    evaluate_layer,
    exact_answers,
    refit_configuration,
)
from workers.sources import accuracy_versions, kernel_versions

Variants = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The restricted table with its latencies."""

    material: Material
    table: Table
    latency_s: dict[str, float]


def measured(
    store: Path, network: str, device_class: str, target: Target, most: int, samples: int
) -> Measured:
    """What a run's store knows of the network's kernels on a class of this machine.

    ``most`` variants of each layer and element type are left, and so many calibration samples. Raises
    ValueError where it knows too little.
    """
    run = load_run_file(run_file(network))
    material = load_material(run, load_inputs(run))
    material = replace(material, calibration=material.calibration.take(samples))
    table = plan_class(device_class, target, material.known).table
    with Store(store) as kept:
        found = kept.measurements(device_class, target.key, kernel_versions())
    latency_s = {key: each.median_s for key, each in found.items() if each.failure is None}
    layers = tuple(tuple(some(candidates, latency_s, most)) for candidates in table.layers)
    if not all(layers):
        raise ValueError(
            f"{store} knows no kernel of some layer; run `blinknet run {run_file(network)}` first"
        )
    return Measured(material, replace(table, layers=layers), latency_s)


def some(candidates: Sequence[Candidate], latency_s: dict[str, float], most: int) -> Iterator[Candidate]:
    """The whole layer in each pair of element types, and others evenly spread over their latencies."""
    pairs = dict.fromkeys((each.reads, each.writes) for each in candidates)
    for reads, writes in pairs:
        if reads.channels or writes.channels:
            continue
        known = [
            each
            for each in candidates
            if (each.reads, each.writes) == (reads, writes) and isfinite(candidate_latency_s(each, latency_s))
        ]
        whole = [each for each in known if each.approximation in UNIFORM]
        others = sorted(
            (each for each in known if each not in whole),
            key=lambda each: candidate_latency_s(each, latency_s),
        )
        room = max(0, min(most - len(whole), len(others)))
        yield from whole
        yield from (others[round(at)] for at in np.linspace(0, len(others) - 1, room))


def configurations(table: Table) -> Iterator[Variants]:
    """Every one whose tensors have one form each; those that begin alike follow each other."""
    for chosen in product(*table.layers):
        if all(chosen[made].writes == chosen[read].reads for made, read in table.edges):
            yield tuple(each.key for each in chosen)


class Answers:
    """Evaluations on the calibration samples: from the store of an earlier call, else made now."""

    def __init__(self, known: Measured, store: Store, cores: Sequence[int]) -> None:
        self._bench = Bench(known.material.known, known.material.calibration)
        self._store, self._cores, self._table = store, cores, known.table
        self._exact = exact_answers(self._bench, self._bench.samples.inputs, cores)
        key = (self._bench.network.sha256, self._bench.samples.sha256, accuracy_versions())
        self._known = store.evaluations(*key)

    def alone(self) -> list[Evaluation]:
        """The exact network's, and each approximation's of each layer."""
        wanted: list[Evaluation] = []
        for candidates in self._table.layers:
            names = dict.fromkeys(each.approximation for each in candidates)
            layer = candidates[0].layer
            keys = {name: configuration_key({} if name == EXACT else {layer: name}) for name in names}
            if any(key not in self._known for key in keys.values()):
                effects = evaluate_layer(self._bench, layer, tuple(names), self._cores)
                self._keep({}, effects.exact)
                for name, effect in effects.effects.items():
                    self._keep({layer: name}, effect)
            wanted += [self._known[key] for key in keys.values()]
        return list({each.configuration: each for each in wanted}.values())

    def jointly(self, variants: Variants) -> Evaluation:
        """A whole configuration's, its layers fitted to each other."""
        named = {layer[0].layer: key for layer, key in zip(self._table.layers, variants, strict=True)}
        if (key := configuration_key(named)) not in self._known:
            fitted = refit_configuration(self._bench, variants, self._cores)
            self._keep(named, evaluate_configuration(self._bench, fitted, self._exact, self._cores))
        return self._known[key]

    def _keep(self, variants: dict[str, str], effect: Effect) -> None:
        made = Evaluation(
            self._bench.network.sha256,
            self._bench.samples.sha256,
            configuration_key(variants),
            accuracy_versions(),
            effect.count,
            effect.correct,
            effect.divergence,
            gained=effect.gained,
            lost=effect.lost,
        )
        self._store.append_evaluations([made])
        self._known[made.configuration] = made
