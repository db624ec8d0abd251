"""What the build slots do: joint evaluations, then libraries that a device wants next, then layers. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from cluster.events import Batch, Build, Command, Evaluate, EvaluateJointly
from cluster.units import ClassWork

STALE = 4
"""Entries of the heap for each class before it is cleaned."""


class HostSlots:
    """Work that needs no device, at most ``slots`` pieces at a time."""

    def __init__(
        self, slots: int, batch_size: int, layers: Iterable[str], classes: Iterable[ClassWork]
    ) -> None:
        self._free = slots
        self._batch_size = batch_size
        self._batches = 0
        self._layers: deque[str] = deque(layers)
        self._evaluating: set[str] = set()
        self._joint: deque[tuple[str, ...]] = deque()
        self._waiting: dict[tuple[str, ...], list[str]] = {}
        self._asked: dict[str, tuple[str, ...]] = {}
        self._classes = {each.name: each for each in classes}
        self._touched: dict[str, None] = dict.fromkeys(self._classes)
        self._driest: list[tuple[float, str]] = []

    @property
    def layers_known(self) -> bool:
        """Whether the effects of all single layers are in the store."""
        return not self._layers and not self._evaluating

    def touch(self, work: ClassWork) -> None:
        """The class may want another library now, or more urgently, or no longer."""
        self._touched[work.name] = None

    def ask(self, device: str, variants: tuple[str, ...]) -> None:
        """Evaluate a whole configuration for a device; once for all that ask for the same."""
        waiting = self._waiting.setdefault(variants, [])
        if not waiting:
            self._joint.append(variants)
        waiting.append(device)
        self._asked[waiting[0]] = variants

    def evaluated_jointly(self, device: str) -> list[str]:
        """That evaluation is there; everybody who waited for it."""
        variants = self._asked.pop(device, None)
        if variants is None:
            return []
        self._free += 1
        return self._waiting.pop(variants)

    def evaluated(self, layer: str) -> bool:
        """A layer's effects are there; whether they were the last."""
        if layer not in self._evaluating:
            return False
        self._evaluating.remove(layer)
        self._free += 1
        return self.layers_known

    def built(self, batch: Batch) -> None:
        """A library is through."""
        del self._classes[batch.device_class].building[batch.number]
        self._free += 1

    def commands(self) -> Iterator[Command]:
        """Fill the free slots."""
        while self._free > 0:
            command = self._next_joint() or self._next_build() or self._next_layer()
            if command is None:
                return
            self._free -= 1
            yield command

    def _next_joint(self) -> Command | None:
        if not self._joint:
            return None
        variants = self._joint.popleft()
        return EvaluateJointly(self._waiting[variants][0], variants)

    def _next_build(self) -> Command | None:
        """The class that would run dry first builds first."""
        self._refresh()
        while self._driest:
            dryness, name = heappop(self._driest)
            work = self._classes[name]
            if work.dryness == dryness:
                return self._build(work)
        return None

    def _build(self, work: ClassWork) -> Build:
        self._batches += 1
        self.touch(work)
        return Build(work.next_batch(self._batches, self._batch_size))

    def _refresh(self) -> None:
        """Each class that was touched is in the heap as it is now; what it was stays until it comes up."""
        if len(self._driest) > STALE * len(self._classes):
            self._touched, self._driest = dict.fromkeys(self._classes), []
        for name in self._touched:
            dryness = self._classes[name].dryness
            if dryness is not None:
                heappush(self._driest, (dryness, name))
        self._touched.clear()

    def _next_layer(self) -> Command | None:
        if not self._layers:
            return None
        layer = self._layers.popleft()
        self._evaluating.add(layer)
        return Evaluate(layer)
