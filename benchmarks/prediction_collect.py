"""Fills the folder of ``benchmarks.prediction``: real measurements on an embedded fleet.

What is there already is not measured again. Kernels are compiled by the library in a thread while the device
times those before them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.prediction_facts import STORE, Facts, PlannedConfiguration, read_facts, write_facts
from benchmarks.prediction_plan import Recipe, amount, known_network, recipe
from cluster.embedded import UNIT, embedded_fleet
from cluster.errors import ClusterError
from cluster.model import planned_peak_bytes
from cluster.planning import KernelRequest
from cluster.selection import Selection, candidates_of, places_of
from cost_model.context_reading import ContextReading
from cost_model.measurement import Measurement, NetworkRun
from cost_model.store import Store
from network.approximations import Catalogue
from network.target import Target
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.drift import DriftPolicy
from tracker.failure import Failure
from tracker.timing import Timing, TimingPolicy
from workers.build import Executable, assemble_executable, assemble_profile, build
from workers.device import DeviceDriver, RunResult
from workers.fingerprint_kernels import buffer_bytes, build_fingerprint
from workers.profile import NetworkInContext
from workers.sources import kernel_versions
from workers.steady import Hygiene

BATCH = 32
"""Kernels a library."""
STEADY = Hygiene(DriftPolicy(share=9.0))
"""Where other programs run beside the fleet, the reference says more about them than about the clock."""
Say = Callable[[str], None]
T = TypeVar("T")


class TimeUpError(Exception):
    """The time for measuring is spent; what was measured is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """One device of the embedded fleet, and where its measurements go."""

    device: DeviceKey
    driver: DeviceDriver
    target: Target
    description: Description
    store: Store
    deadline_s: float
    """Of the monotonic clock."""

    def check_time(self) -> None:
        """Raises ``TimeUpError`` when it is over."""
        if time.monotonic() > self.deadline_s:
            raise TimeUpError


def collect(out: Path, networks: Sequence[str], classes: Sequence[str], minutes: float, say: Say) -> bool:
    """Measure what is missing; False where the minutes did not suffice. Raises errors of our packages."""
    out.mkdir(parents=True, exist_ok=True)
    missing = [(name, kind) for name in networks for kind in classes if not _complete(out, name, kind)]
    if not missing:
        return True
    needed = tuple(dict.fromkeys(kind for _, kind in missing))
    deadline_s = time.monotonic() + 60 * minutes
    with Store(out / STORE) as store, embedded_fleet(needed) as tracker:
        benches = {kind: _bench(tracker, kind, store, deadline_s) for kind in needed}
        try:
            for name in dict.fromkeys(name for name, _ in missing):
                _network(out, name, [benches[kind] for each, kind in missing if each == name], say)
        except TimeUpError:
            return False
    return True


def _complete(out: Path, network: str, device_class: str) -> bool:
    facts = read_facts(out, network, device_class)
    if facts is None or not (out / STORE).is_file():
        return False
    with Store(out / STORE, readonly=True) as store:
        return not (_unmeasured(store, facts) or _not_run(store, facts) or _not_read(store, facts))


def _unmeasured(store: Store, facts: Facts) -> list[str]:
    known = store.measurements(facts.device_class, facts.target, facts.versions)
    return [each.kernel for each in facts.samples if each.kernel not in known]


def _doubtful(store: Store, facts: Facts) -> list[str]:
    """What was measured while other programs had the core: repeats that do not agree say little."""
    known = store.measurements(facts.device_class, facts.target, facts.versions)
    return [each.kernel for each in facts.samples if each.kernel in known and known[each.kernel].marks]


def _not_run(store: Store, facts: Facts) -> list[PlannedConfiguration]:
    runs = store.runs(facts.network_sha256, facts.device_class, facts.target, facts.versions)
    known = {each.configuration for each in runs}
    return [each for each in facts.configurations if each.key not in known]


def _not_read(store: Store, facts: Facts) -> bool:
    return not store.context_readings(facts.device_class, facts.target, facts.versions, facts.network_sha256)


def _bench(tracker: Address, device_class: str, store: Store, deadline_s: float) -> Bench:
    device = DeviceKey(device_class, UNIT)
    driver = DeviceDriver(tracker, device)
    description = _answered(driver.describe())
    target = Target.for_features(description.architecture, description.features)
    target = replace(target, threads=1, emulated=description.emulated)
    return Bench(device, driver, target, description, store, deadline_s)


def _network(out: Path, name: str, benches: Sequence[Bench], say: Say) -> None:
    say(f"{name}: its variants")
    known = known_network(name)
    for bench in benches:
        _fingerprint(bench)
        found = recipe(known, bench.device.device_class, bench.target)
        facts = _facts(name, known, found)
        write_facts(out, facts)
        _kernels(bench, found, _unmeasured(bench.store, facts), say)
        _kernels(bench, found, _doubtful(bench.store, facts), say)
        _configurations(bench, known, found, _not_run(bench.store, facts), say)
        if _not_read(bench.store, facts):
            _profile(bench, known, found)
            say(f"{bench.device}: kernels at their places")


def _fingerprint(bench: Bench) -> None:
    if any(each.kind == "fingerprint" for each in bench.store.device_events(str(bench.device))):
        return
    library = build_fingerprint(bench.target, buffer_bytes(bench.description.memory_bytes), ())
    bench.store.append_device_events([_answered(bench.driver.fingerprint(library))])


def _facts(name: str, known: Catalogue, found: Recipe) -> Facts:
    table = found.plan.table
    return Facts(
        name,
        table.device_class,
        table.target,
        kernel_versions(),
        known.network.sha256,
        tuple(table.samples[each] for each in found.requests),
        tuple(
            PlannedConfiguration(
                each.key,
                tuple(request for _, request in places_of(table, each)),
                tuple(layer for layer, _ in places_of(table, each)),
                planned_peak_bytes(table, each),
                sum(candidate.parameter_bytes for candidate in candidates_of(table, each)),
            )
            for each in found.configurations
        ),
    )


def _kernels(bench: Bench, found: Recipe, requests: Sequence[str], say: Say) -> None:
    kernels = found.plan.kernels
    batches = [requests[first : first + BATCH] for first in range(0, len(requests), BATCH)]
    policy = TimingPolicy(budget_s=amount(bench.device.device_class).budget_s)
    jobs = [partial(build, [kernels[each] for each in batch], bench.target, ()) for batch in batches]
    for number, (batch, library) in enumerate(zip(batches, _ahead(jobs), strict=True), start=1):
        bench.check_time()
        arguments = {
            each: kernels[each][0].arguments(bench.target.isa) for each in batch if each in library.symbols
        }
        result = bench.driver.measure(library, arguments, policy, STEADY)
        failed = {
            each: Failure("build", why, str(bench.device), "build") for each, why in library.failures.items()
        }
        if result.failure and result.culprit:
            failed[result.culprit] = result.failure
        outcomes = {**result.timings, **failed}
        _append(bench, [_measurement(bench, key, outcome) for key, outcome in outcomes.items()])
        say(f"{bench.device}: {number} of {len(batches)} libraries, {len(outcomes)} kernels")


def _append(bench: Bench, taken: Sequence[Measurement]) -> None:
    """Keep them; of what was measured before another take only where it says more."""
    known = bench.store.measurements(bench.device.device_class, bench.target.key, kernel_versions())
    better = [
        each
        for each in taken
        if (before := known.get(each.kernel)) is None or (not each.failure and each.weight > before.weight)
    ]
    bench.store.append_measurements(better, force=True)


def _configurations(
    bench: Bench, known: Catalogue, found: Recipe, missing: Sequence[PlannedConfiguration], say: Say
) -> None:
    selections = [Selection.from_key(each.key) for each in missing]
    wanted = [found.configurations[0], *selections] if selections else []
    executables = _ahead([partial(_assembled, bench.target, known, each) for each in wanted])
    exact = next(executables, None)
    for number, (selection, executable) in enumerate(zip(selections, executables, strict=True), start=1):
        bench.check_time()
        if exact is not None:
            outcome = _run(bench, known, executable, exact)
            if isinstance(outcome, RunResult):
                bench.store.append_runs([_record(bench, known, selection, executable, outcome)])
            say(f"{bench.device}: {number} of {len(selections)} configurations")


def _profile(bench: Bench, known: Catalogue, found: Recipe) -> None:
    """What kernels take at their places in all configurations."""
    bench.check_time()
    kernels, table = found.plan.kernels, found.plan.table
    chosen: list[dict[str, list[KernelRequest]]] = []
    for each in found.configurations:
        chosen.append({layer.name: [] for layer in known.network.layers})
        for layer, request in places_of(table, each):
            chosen[-1][layer].append(kernels[request])
    library = assemble_profile(known.network, chosen, bench.target, ())
    result = _answered(bench.driver.profile(library))
    bench.store.append_context_readings(
        reading
        for selection, network in zip(found.configurations, result.networks, strict=True)
        for reading in _readings(bench, known, selection, network)
    )


def _readings(
    bench: Bench, known: Catalogue, selection: Selection, read: NetworkInContext
) -> Iterator[ContextReading]:
    for each in read.kernels:
        yield ContextReading(
            kernel=each.request,
            network=known.network.sha256,
            layer=each.layer,
            step=each.step,
            configuration=selection.key,
            device_class=bench.device.device_class,
            target=bench.target.key,
            versions=kernel_versions(),
            device=str(bench.device),
            seconds=each.seconds,
            clock_s=read.clock_s,
            rest_s=read.rest_s,
        )


def _run(bench: Bench, known: Catalogue, candidate: Executable, exact: Executable) -> RunResult | Failure:
    random, network = np.random.default_rng(0), known.network
    inputs = [random.random((1, *shape), dtype=np.float32) for shape in network.input_shapes.values()]
    outputs = [each.shape for each in network.outputs]
    return bench.driver.run(candidate, exact, inputs, outputs, amount(bench.device.device_class).runs)


def _assembled(target: Target, known: Catalogue, selection: Selection) -> Executable:
    layers = known.network.layers
    fitted = {
        layer.name: known.fitted(known.variant(layer.name, key))
        for layer, key in zip(layers, selection.variants, strict=True)
    }
    return assemble_executable(known.network, fitted, selection.tiles, target, ())


def _measurement(bench: Bench, key: str, outcome: Timing | Failure) -> Measurement:
    timed = outcome if isinstance(outcome, Timing) else None
    return Measurement(
        kernel=key,
        device_class=bench.device.device_class,
        target=bench.target.key,
        versions=kernel_versions(),
        device=str(bench.device),
        number=timed.number if timed else 0,
        seconds=timed.seconds if timed else (),
        converged=timed.converged if timed else False,
        conditions={
            "taken": datetime.now(UTC).isoformat(timespec="seconds"),
            **(timed.conditions if timed else {}),
        },
        failure=None if timed else str(outcome),
    )


def _record(
    bench: Bench, known: Catalogue, selection: Selection, executable: Executable, result: RunResult
) -> NetworkRun:
    return NetworkRun(
        configuration=selection.key,
        network=known.network.sha256,
        device_class=bench.device.device_class,
        target=bench.target.key,
        versions=kernel_versions(),
        device=str(bench.device),
        seconds=result.seconds,
        exact_seconds=result.exact_seconds,
        peak_bytes=result.peak_bytes,
        exact_peak_bytes=result.peak_bytes,
        library_bytes=len(executable.library),
        storage_bytes=executable.transfer_bytes,
    )


def _ahead(jobs: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Their results in order; the next one is made in a thread while the caller is busy with one."""
    with ThreadPoolExecutor(1) as pool:
        upcoming: Future[T] | None = None
        for index in range(len(jobs) + 1):
            ready, upcoming = upcoming, pool.submit(jobs[index]) if index < len(jobs) else None
            if ready is not None:
                yield ready.result()


def _answered(answer: T | Failure) -> T:
    """Raises ``ClusterError`` for a failure."""
    if isinstance(answer, Failure):
        raise ClusterError(f"{answer}; run the benchmark again: what was measured is kept")
    return answer
