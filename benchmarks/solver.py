"""How fast bounds are answered: ``python -m benchmarks.solver [--run OUT/RUN] [--quick]``.

``new_bound_ms``: the slowest of 20 new bounds on latency and memory of VGG-16, on a problem that has answered
one before; all proven optimal. ``frontier_s``: everything of VGG-16 that nothing beats in latency and
divergence, from a problem that nothing was prepared for. ``fleet_s``: ResNet-50 with 40 variants a layer on
1,000 units of 100 classes under 5 targets, each unit with a speed of its own: one configuration a class for
its slowest unit, and the fewest bundles that keep every unit's bounds.

VGG-16 comes from a run's choices with ``--run``: what was measured on the device, and predicted beside it.
Without, from its catalogue for x86-64-v4 with roofline latencies and drawn divergences. ResNet-50's table is
drawn (``benchmarks.solver_tables``); the seeds are 0 to 99. Times are wall times; ``own`` is the processor's
time of this process, which tells more on a machine that others use.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks.networks import model_path
from benchmarks.solver_tables import DrawnClass, catalogued_problem, drawn_problem, measured_problem
from cluster.fewest import GAP, UnitChoices, fewest_bundles, tightest
from cluster.frontier import frontier
from cluster.problem import Limits, Problem, Solution
from cluster.solver import Solver
from cluster.tables import console, plain_table
from network.layers import Network
from network.onnx_import import load

QUESTIONS = 20
CLASSES, UNITS, TARGETS = 100, 10, 5


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solver", description=__doc__)
    parser.add_argument("--run", type=Path, help="a finished run of examples/vgg16/run.yaml")
    parser.add_argument("--device-class", default="x86-64-v4", help="of that run; default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="a fleet of 10 classes")
    options = parser.parse_args(arguments)
    problem = (
        measured_problem(options.run, options.device_class) if options.run else catalogued_problem("vgg16", 0)
    )
    found = one_device(problem)
    with TemporaryDirectory() as folder:
        network = load(model_path("resnet50", Path(folder)))
    found |= fleet(network, 10 if options.quick else CLASSES)
    found |= {"vgg16": "run" if options.run else "catalogue and roofline", "quick": options.quick}
    table = plain_table("figure", right=("value",))
    for name, value in found.items():
        table.add_row(name, str(value))
    console().print(table)
    print(json.dumps(found))
    return 0


class Clock:
    """Wall time and this process's own since it was made."""

    def __init__(self) -> None:
        self._wall, self._own = time.perf_counter(), time.process_time()

    @property
    def wall_s(self) -> float:
        """Seconds, whoever else was busy."""
        return time.perf_counter() - self._wall

    @property
    def own_s(self) -> float:
        """Seconds that this process worked."""
        return time.process_time() - self._own


def one_device(problem: Problem) -> dict[str, object]:
    """New bounds, and the whole frontier."""
    clock = Clock()
    points = frontier(problem)
    frontier_s, frontier_own_s = clock.wall_s, clock.own_s
    clock = Clock()
    solver = Solver(problem)
    most = _solved(solver, Limits())
    limits = _limits(most, 0.5, 0.5)
    _solved(solver, limits)
    first_ms = 1e3 * clock.wall_s
    random = Random(0)
    times_ms: list[float] = []
    own_ms: list[float] = []
    gaps: list[float] = []
    for _ in range(QUESTIONS):
        limits = _limits(most, random.uniform(0.2, 0.8), random.uniform(0.2, 0.8))
        clock = Clock()
        outcome = solver.minimise("divergence", limits)
        times_ms.append(1e3 * clock.wall_s)
        own_ms.append(1e3 * clock.own_s)
        gaps.append(0.0 if outcome is None else outcome.gap)
    return {
        "new_bound_ms": round(max(times_ms), 1),
        "new_bound_own_ms": round(max(own_ms), 1),
        "new_bound_median_ms": round(sorted(times_ms)[QUESTIONS // 2], 1),
        "first_bound_ms": round(first_ms, 1),
        "new_bound_gap": max(gaps),
        "frontier_s": round(frontier_s, 2),
        "frontier_own_s": round(frontier_own_s, 2),
        "frontier_points": len(points),
    }


def fleet(network: Network, classes: int) -> dict[str, object]:
    """One configuration a class, then as few bundles as possible."""
    units = [unit for number in range(classes) for unit in _units(network, number)]
    clock = Clock()
    gaps = [_of_class(units[at : at + UNITS]).gap for at in range(0, len(units), UNITS)]
    class_s = clock.wall_s
    shared = fewest_bundles(units)
    return {
        "fleet_s": round(clock.wall_s, 2),
        "fleet_own_s": round(clock.own_s, 2),
        "fleet_class_s": round(class_s, 2),
        "fleet_units": len(units),
        "fleet_classes": classes,
        "fleet_class_gap": round(max(gaps), 5),
        "fleet_bundles": len(shared.bundles),
        "fleet_candidates": shared.candidates,
        "fleet_uncovered": len(shared.uncovered),
        "fleet_cover_gap": shared.gap,
    }


def _units(network: Network, number: int) -> list[UnitChoices]:
    """A class's units: a slower one has less time for the same problem."""
    random, problem = Random(number), drawn_problem(network, DrawnClass(number))
    exact = _solved(Solver(problem, gap=GAP), Limits())
    asked = _limits(exact, random.uniform(0.35, 0.6), random.uniform(0.5, 0.7))
    target = f"target-{number % TARGETS}"
    return [
        UnitChoices(
            f"class-{number:03}.unit-{unit}",
            replace(asked, latency_s=(asked.latency_s or 0.0) / random.uniform(0.9, 1.1)),
            {target: problem},
        )
        for unit in range(UNITS)
    ]


def _of_class(units: Sequence[UnitChoices]) -> Solution:
    (problem,) = units[0].offers.values()
    return _solved(Solver(problem, gap=GAP), tightest([each.limits for each in units]))


def _limits(exact: Solution, latency: float, memory: float) -> Limits:
    """Shares of what the most accurate configuration takes."""
    return Limits(latency * exact.totals.latency_s, memory * exact.totals.memory_bytes)


def _solved(solver: Solver, limits: Limits) -> Solution:
    outcome = solver.minimise("divergence", limits)
    if outcome is None:
        raise ValueError(f"nothing keeps {limits}; the table's seeds have changed")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
