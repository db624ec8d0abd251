"""The triples of bounds (latency, memory, storage) that ``benchmarks.bounds`` asks for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks.networks import SHIPPED
from cluster.goal import Goal
from cluster.outputs import RunFolder, prepare
from runtime.bounds import Bounds

LATENCIES = (70, 50, 35, 25, 20, 15)
MEMORIES = (100, 50, 30)
STORAGES = (100, 50, 25)
HALF = (50, 50, 100)
"""A half of exact latency and a half of exact memory; storage at most that of the exact configuration."""
QUICK = 24


@dataclass(frozen=True, slots=True)
class Triple:
    """Three bounds for one network on one class, in percent of exact."""

    network: str
    device_class: str
    latency: int
    memory: int
    storage: int

    @property
    def goal(self) -> Goal:
        """As a run file would state it."""
        shares = {"latency": self.latency, "memory": self.memory, "storage": self.storage}
        return Goal(Bounds.parse({name: f"{share}%" for name, share in shares.items()}))

    @property
    def device(self) -> str:
        """The embedded device of its class."""
        return f"{self.device_class}.local"

    @property
    def bounds(self) -> tuple[int, int, int]:
        """The same for every class and network."""
        return self.latency, self.memory, self.storage

    def folder(self, out: Path) -> RunFolder:
        """Where its job is handed over; all classes of a network share it."""
        latency, memory, storage = self.bounds
        return prepare(out, f"{self.network}-latency{latency}-memory{memory}-storage{storage}")


def all_triples(classes: tuple[str, ...]) -> list[Triple]:
    """The whole grid for every network and class; first what says most if there is no time for the rest."""
    points = sorted(product(LATENCIES, MEMORIES, STORAGES), key=_order)
    return [Triple(*where, *point) for point in points for where in product(SHIPPED, classes)]


def quick_triples(classes: tuple[str, ...]) -> list[Triple]:
    """So many of them, spread evenly over the grid, networks and classes in turns."""
    where = list(product(SHIPPED, classes))
    points = list(product(LATENCIES, MEMORIES, STORAGES))
    # Five is prime to the number of places, seven to that of points: neighbours go to different ones.
    return [
        Triple(*where[(5 * index + index // len(where)) % len(where)], *points[7 * index % len(points)])
        for index in range(QUICK)
    ]


def _order(point: tuple[int, int, int]) -> tuple[bool, int]:
    """The half first, then in an order that is spread over the grid and always the same."""
    points = list(product(LATENCIES, MEMORIES, STORAGES))
    return point != HALF, 7 * points.index(point) % len(points)
