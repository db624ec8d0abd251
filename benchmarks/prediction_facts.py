"""The folder of ``benchmarks.prediction``: a store of measurements, and what was known before measuring.

Making a network's variants takes longer than everything that is computed from their measurements, so what the
models want to know of them is kept as JSON beside the store.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cost_model.context_reading import ContextReading
from cost_model.features import Sample
from cost_model.fingerprint import Fingerprint, fingerprint_of
from cost_model.measurement import NetworkRun
from cost_model.store import Store
from runtime.errors import RecordError
from runtime.records import from_plain, to_plain
from workers.sources import kernel_versions

STORE = "measurements.sqlite"


@dataclass(frozen=True, slots=True)
class PlannedConfiguration:
    """A whole configuration before it runs."""

    key: str
    requests: tuple[str, ...]
    """One for each of its kernels, in order; equal ones as often as they run."""
    layers: tuple[str, ...]
    """That each of those is in."""
    planned_bytes: int
    """Parameters and the largest live set."""
    parameter_bytes: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is to be measured of a network on a class, and what is known of it before."""

    network: str
    device_class: str
    target: str
    versions: str
    network_sha256: str
    samples: tuple[Sample, ...]
    configurations: tuple[PlannedConfiguration, ...]
    """The exact one first."""


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Of a network on a class: what was known, and what was measured."""

    facts: Facts
    samples: tuple[Sample, ...]
    """Those that were measured, with their medians."""
    runs: tuple[tuple[PlannedConfiguration, NetworkRun], ...]
    readings: tuple[ContextReading, ...]
    """Of kernels in those configurations."""


def facts_path(out: Path, network: str, device_class: str) -> Path:
    """Where a network's facts on a class are kept."""
    return out / f"{network}.{device_class}.json"


def write_facts(out: Path, facts: Facts) -> None:
    """Replace the file."""
    path = facts_path(out, facts.network, facts.device_class)
    path.write_text(json.dumps(to_plain(facts)), encoding="utf-8")


def read_facts(out: Path, network: str, device_class: str) -> Facts | None:
    """What was written with the same sources; None where there is nothing of the kind."""
    path = facts_path(out, network, device_class)
    if not path.is_file():
        return None
    try:
        found = from_plain(Facts, json.loads(path.read_text(encoding="utf-8")), str(path))
    except RecordError:
        return None
    return found if found.versions == kernel_versions() else None


def read_data(out: Path, networks: Sequence[str], classes: Sequence[str]) -> list[Data]:
    """Everything that the folder has of these networks on these classes."""
    if not (out / STORE).is_file():
        return []
    with Store(out / STORE, readonly=True) as store:
        facts = [each for name in networks for kind in classes if (each := read_facts(out, name, kind))]
        return [_data(store, each) for each in facts]


def read_fingerprints(out: Path, classes: Sequence[str]) -> dict[str, Fingerprint]:
    """The latest of each class."""
    with Store(out / STORE, readonly=True) as store:
        events = store.device_events()
    found = ((each.device.partition(".")[0], fingerprint_of(each)) for each in events)
    return {name: each for name, each in found if each is not None and name in classes}


def _data(store: Store, facts: Facts) -> Data:
    measured = store.measurements(facts.device_class, facts.target, facts.versions)
    samples = tuple(
        replace(each, seconds=known.median_s, weight=known.weight)
        for each in facts.samples
        if (known := measured.get(each.kernel)) is not None and known.failure is None
    )
    by_key = {each.key: each for each in facts.configurations}
    runs = store.runs(facts.network_sha256, facts.device_class, facts.target, facts.versions)
    latest = {each.configuration: each for each in runs if each.configuration in by_key}
    readings = store.context_readings(facts.device_class, facts.target, facts.versions, facts.network_sha256)
    return Data(facts, samples, tuple((by_key[key], each) for key, each in latest.items()), readings)
