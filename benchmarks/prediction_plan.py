"""What ``benchmarks.prediction`` measures: kernels and whole configurations, drawn at random from a network.

A kernel is drawn by a hash of its key, so that all classes measure the same ones, each with its own tiles.
Weights play no role for times and sizes, so parameters are fitted to a few samples of noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.build_times import known_variants
from benchmarks.networks import model_path
from cluster.planning import ClassPlan, plan_class
from cluster.problem import Limits, Option, Problem, Solution
from cluster.selection import Selection, requests_of, select
from cluster.solver import solve
from cluster.table import Candidate, Table
from cost_model.held_out import draw
from network.approximations import Catalogue
from network.onnx_import import load
from network.target import Target
from tracker.cpus import CPUS
from tracker.levels import LEVELS

NETWORKS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cifar10_quick": (("int8", "channels"), ("3/4", "1/2", "1/4")),
    "activity": (("int8", "channels"), ("3/4", "1/2", "1/4")),
    "vgg16": (("int8", "channels"), ("1/2",)),
    "densenet": (("int8",), ("1/2",)),
}
"""By name, with the methods and degrees that make its variants: some two hundred kernels each."""
EMULATED = "cortex-a76"
CLASSES = (*LEVELS, EMULATED)
SEED = 5
UNIFORM = ("exact", "int8")


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured of one network on one class."""

    share: float
    """Of its kernels, with their most promising tile."""
    tiles_share: float
    """Of its kernels, with all of their tiles."""
    configurations: int
    """Drawn at random, besides the uniform ones."""
    runs: int
    """End to end, of each configuration."""
    budget_s: float
    """For all repeats of one kernel."""


NATIVE = Amount(share=1.0, tiles_share=0.15, configurations=6, runs=60, budget_s=0.1)
SLOW = Amount(share=0.4, tiles_share=0.05, configurations=2, runs=6, budget_s=0.05)
"""An emulator takes a hundred times as long."""


def amount(device_class: str) -> Amount:
    """What is affordable on a class."""
    return SLOW if device_class in CPUS else NATIVE


def known_network(name: str) -> Catalogue:
    """The variants of a network by its name."""
    methods, degrees = NETWORKS[name]
    with TemporaryDirectory(prefix="blinknet-prediction-") as folder:
        network = load(model_path(name, Path(folder)))
    return known_variants(network, methods, [Fraction(each) for each in degrees])


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """All that is measured of a network on a class."""

    plan: ClassPlan
    requests: tuple[str, ...]
    """Drawn ones, and those of the configurations."""
    configurations: tuple[Selection, ...]
    """The exact one first."""


def recipe(known: Catalogue, device_class: str, target: Target) -> Recipe:
    """Draw kernels and configurations; the same for the same network, class and target."""
    plan, stated = plan_class(device_class, target, known), amount(device_class)
    configurations = _configurations(plan.table, stated.configurations)
    of_them = (request for each in configurations for request in requests_of(plan.table, each))
    drawn = _drawn(plan.table, stated)
    return Recipe(plan, tuple(dict.fromkeys((*of_them, *drawn))), configurations)


def _drawn(table: Table, stated: Amount) -> list[str]:
    """The most promising tile of a share of the kernels, the others too of a smaller one."""
    tiles: dict[str, tuple[str, ...]] = {
        step.kernel: step.requests for layer in table.layers for each in layer for step in each.steps
    }
    drawn = {kernel: draw(kernel, SEED, "collect") for kernel in tiles}
    chosen = [each for each in tiles if drawn[each] < stated.share]
    return [
        request
        for kernel in chosen
        for request in (tiles[kernel] if drawn[kernel] < stated.tiles_share else tiles[kernel][:1])
    ]


def _configurations(table: Table, count: int) -> tuple[Selection, ...]:
    """The uniform ones, then those that random costs make the best: neighbours agree on their forms."""
    uniform = [select(table.uniform(name), {}) for name in UNIFORM]
    drawn = [select(_random_candidates(table, seed), {}) for seed in range(count)]
    return tuple(dict.fromkeys((*uniform, *drawn)))


def _random_candidates(table: Table, seed: int) -> Sequence[Candidate]:
    """A variant a layer."""
    random = np.random.default_rng((SEED, seed))
    layers = tuple(
        tuple(
            Option(each.layer, each.key, 0.0, 0, 0, 0, 0, random.random(), str(each.reads), str(each.writes))
            for each in candidates
        )
        for candidates in table.layers
    )
    found = solve(Problem(layers, table.edges), Limits())
    if not isinstance(found, Solution):
        raise ValueError(f"{table.network} has no configuration whose neighbours agree; report it")
    return [table.candidate(index, key) for index, key in enumerate(found.variants)]
