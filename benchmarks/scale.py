"""The coordinator with ten thousand simulated devices of a hundred classes, and what goes wrong with them.

    python -m benchmarks.scale [--quick]

One process holds the real coordinator and the simulated fleet (``cluster.simulation``); ``events_per_s`` are
the events that the coordinator has handled per second of wall time, the fleet's own work included.

``makespan_vs_ideal`` is about measuring, in simulated seconds. The makespan ends with the last of the wanted
requests. Ideal is each class's work by what its devices can do: the sum of what timing takes on the middle
unit, of every request once and of the common ones once a device, over the sum of one over the devices' speed
factors; the longest class counts. It has neither sessions to open nor faults: whatever lost devices, crashed
sessions, waiting for libraries and the last long batch cost is counted against us. What the units then choose
and run is simulated too (and counts as events) but happens one after the other, so it is shown apart.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

from rich.console import Console
from rich.table import Table

from cluster.coordinator import Coordinator
from cluster.events import Measured
from cluster.ledger import class_of
from cluster.needs import Decision, Finished, NeedEvaluation, NeedMeasurements, NeedRun
from cluster.selection import Selection
from cluster.simulation import HostTimes, Simulation
from workers.simulated_device import Faults, SimulatedDevice, Times, fleet
from workers.simulated_times import DrawnTimes

SEED = 1


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    classes: int
    units: int
    """Of a class."""
    requests: int
    """Of a class: several networks' kernels, each with its tiles."""
    build_slots: int
    """A tenth of the devices: sixteen machines of 64 cores for ten thousand boards."""
    common: int = 6
    late: int = 20
    """Requests that a class's first choice asks for."""
    deadly: int = 5
    """Requests that end every session."""


FULL = Size(classes=100, units=100, requests=30_000, build_slots=1024)
QUICK = Size(classes=20, units=50, requests=15_000, build_slots=128)
TIMING_MEDIAN_S = 0.9
"""To time a request on a small board: fill its arguments, then at least six repeats of a slow kernel."""
TIMING_SPREAD = 0.5
UNIT_SPREAD = 0.1
MOST_UNLUCKY = 20
"""Measurements of a class that may be missing because sessions died twice in a request by chance: one for all
units, where it is a common one one for each."""
FAULTS = Faults(crash_share=0.002, loss_every_s=8 * 3600.0, away_s=60.0)
"""Every fivehundredth session dies; a board goes away three times a day, for a minute."""


@dataclass
class Book:
    """Counts what was measured, and when the last wanted request of each class was."""

    times: Times
    work_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    ends_s: dict[str, float] = field(default_factory=dict)
    measured: Counter[str] = field(default_factory=Counter)

    def note(self, now_s: float, event: Measured) -> None:
        """A batch is through; what a choice asked for later was not there to be shared out."""
        name = event.batch.device_class
        self.measured[name] += len(event.done)
        if event.done and not event.done[0].startswith("late"):
            self.work_s[name] += self.times.timing_s(event.done)
            self.ends_s[name] = now_s


@dataclass
class Choice:
    """Decisions as a run has them: measure what is missing, evaluate, run; those that follow run twice."""

    late: int
    steps: Counter[str] = field(default_factory=Counter)

    def __call__(self, device: str, final: Finished | None) -> Decision:
        """Exact first, then the candidate."""
        self.steps[device] += 1
        device_class, step = class_of(device), self.steps[device]
        exact, chosen = (Selection((name, device_class), ()) for name in ("exact", "chosen"))
        if final is not None:
            return NeedRun(exact if step == 1 else chosen) if step <= 2 else final
        late = NeedMeasurements(tuple(f"late {device_class} {each}" for each in range(self.late)))
        walk = (NeedRun(exact), late, NeedEvaluation(chosen), NeedRun(chosen))
        return walk[step - 1] if step <= len(walk) else Finished("holds", chosen)


@dataclass(frozen=True, slots=True)
class Result:
    """What a simulated run showed; its fields are the benchmark's JSON."""

    events_per_s: float
    events_per_cpu_s: float
    peak_memory_mb: float
    makespan_vs_ideal: float
    makespan_s: float
    ideal_s: float
    whole_run_s: float
    events: int
    devices: int
    classes: int
    requests: int
    measured: int
    sessions: int
    losses: int
    crashes: int
    discarded: int
    wall_s: float


def simulate(size: Size) -> Result:
    """One run from the first device to the last outcome."""
    requests = [f"kernel-{each:05}" for each in range(size.requests)]
    classes = [f"class-{each:03}" for each in range(size.classes)]
    times = DrawnTimes(SEED, timing_median_s=TIMING_MEDIAN_S, spread=TIMING_SPREAD)
    deadly = Random(SEED).sample(requests[size.common :], size.deadly)
    faults = Faults(FAULTS.crash_share, frozenset(deadly), frozenset(), FAULTS.loss_every_s, FAULTS.away_s)
    devices = fleet(classes, size.units, dict.fromkeys(classes, times), faults, SEED, UNIT_SPREAD)
    coordinator = Coordinator(
        dict.fromkeys(classes, requests),
        ["conv1", "conv2"],
        common=dict.fromkeys(classes, requests[: size.common]),
        shared=classes,
        build_slots=size.build_slots,
    )
    book = Book(times)
    simulation = Simulation(coordinator, devices, Choice(size.late), HostTimes(), book.note)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    simulation.run()
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    _check(coordinator, size, book, len(deadly))
    makespan_s, ideal_s, tally = max(book.ends_s.values()), _ideal_s(book, devices), simulation.tally
    return Result(
        events_per_s=tally.events / wall_s,
        events_per_cpu_s=tally.events / cpu_s,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        makespan_vs_ideal=makespan_s / ideal_s,
        makespan_s=makespan_s,
        ideal_s=ideal_s,
        whole_run_s=simulation.now_s,
        events=tally.events,
        devices=len(devices),
        classes=size.classes,
        requests=size.classes * size.requests,
        measured=book.measured.total(),
        sessions=tally.sessions,
        losses=tally.losses,
        crashes=tally.crashes,
        discarded=tally.discarded,
        wall_s=wall_s,
    )


def _ideal_s(book: Book, devices: dict[str, SimulatedDevice]) -> float:
    """The longest class's work by what its devices can do, all of them, all the time."""
    capacity: dict[str, float] = defaultdict(float)
    for name, each in devices.items():
        capacity[class_of(name)] += 1 / each.factor
    return max(work_s / capacity[name] for name, work_s in book.work_s.items())


def _check(coordinator: Coordinator, size: Size, book: Book, deadly: int) -> None:
    """Nothing was lost and nothing measured twice; a fast wrong answer would be none."""
    outcomes = coordinator.outcomes
    if not coordinator.finished or len(outcomes) != size.classes * size.units:
        raise AssertionError(f"only {len(outcomes)} devices came to an end; {coordinator.unattended()}")
    for name, measured in book.measured.items():
        expected = size.requests + size.late + (size.units - 1) * size.common - deadly
        if not expected - MOST_UNLUCKY <= measured <= expected:
            raise AssertionError(f"{name} measured {measured} requests instead of {expected}")


def show(result: Result, console: Console) -> None:
    """A table, then one line of JSON."""
    table = Table("figure", "value", box=None)
    for name in Result.__dataclass_fields__:
        value = getattr(result, name)
        table.add_row(name, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}")
    console.print(table)
    figures = {name: getattr(result, name) for name in Result.__dataclass_fields__}
    print(json.dumps({name: round(each, 4) for name, each in figures.items()}))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a thousand devices of twenty classes")
    arguments = parser.parse_args()
    show(simulate(QUICK if arguments.quick else FULL), Console())


if __name__ == "__main__":
    main()
