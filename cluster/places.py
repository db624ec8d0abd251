"""On which of Ray's nodes what drives devices is started: as many on one as on another."""

from __future__ import annotations

from collections import Counter
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Places:
    """Counts drivers by node: of what needs no CPU, Ray itself may put everything on one."""

    def __init__(self) -> None:
        self._drivers: Counter[str] = Counter()
        self._nodes: dict[Any, str] = {}

    def start(self, actor: Any, *arguments: Any, **options: Any) -> Any:
        """Start an actor on the node with the fewest; anywhere else where that node is gone."""
        node = min(_workers(), key=lambda each: (self._drivers[each], each))
        affinity = NodeAffinitySchedulingStrategy(node, soft=True)
        started = actor.options(scheduling_strategy=affinity, **options).remote(*arguments)
        self._drivers[node] += 1
        self._nodes[started] = node
        return started

    def end(self, actor: Any) -> None:
        """Kill an actor that was started here."""
        self._drivers[self._nodes.pop(actor)] -= 1
        ray.kill(actor)


def _workers() -> list[str]:
    """Nodes that are there and have CPUs, all where none has: a head often only keeps the books."""
    alive = [each for each in ray.nodes() if each["Alive"]]
    working = [each for each in alive if each["Resources"].get("CPU", 0) > 0]
    return [each["NodeID"] for each in working or alive]
