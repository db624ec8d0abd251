"""The table of choices of one device class: every variant of every layer with what is known before measuring.

Pure: imports neither ray nor tvm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cost_model.features import Sample
from network.variants import Form

FLOAT, INTEGER = Form("float32"), Form("uint8")


@dataclass(frozen=True, slots=True)
class StepChoices:
    """One kernel of a variant: any of its tiles computes the same."""

    kernel: str
    tiles: tuple[tuple[int, ...], ...]
    """Most promising first."""
    requests: tuple[str, ...]
    """Content key of kernel and tile, one for each tile: what is measured."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant of a layer as the solver sees it."""

    layer: str
    key: str
    approximation: str
    reads: Form
    writes: Form
    steps: tuple[StepChoices, ...]
    parameter_bytes: int
    """Packed for this class."""
    live_bytes: int
    """Most bytes of activations and workspace alive at once while its kernels run."""
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Table:
    """Candidates for each layer of a network, in the network's order, for one device class."""

    network: str
    device_class: str
    target: str
    layers: tuple[tuple[Candidate, ...], ...]
    edges: tuple[tuple[int, int], ...]
    """Producer and consumer layer, by index: they agree on the form of the tensor between them."""
    samples: Mapping[str, Sample]
    """The cost model's features of every request."""
    input_bytes: int
    held: tuple[tuple[int, ...], ...]
    """For each layer, by index, those whose outputs wait beside it for a reader behind it."""

    @property
    def requests(self) -> tuple[str, ...]:
        """Everything that could be measured, each content key once, in the network's order."""
        return tuple(self.samples)

    def candidate(self, layer: int, key: str) -> Candidate:
        """The variant ``key`` of the layer with that index."""
        return next(each for each in self.layers[layer] if each.key == key)

    def uniform(self, approximation: str) -> tuple[Candidate, ...]:
        """One approximation in every layer that has it, ``exact`` elsewhere; neighbours agree."""
        integer = self._integer_tensors(approximation)
        chosen = []
        for index in range(len(self.layers)):
            fitting = self._fitting(index, integer)
            named = [each for each in fitting if each.approximation == approximation]
            exact = [each for each in fitting if each.approximation == "exact"]
            chosen.append((named or exact or fitting)[0])
        return tuple(chosen)

    def uniform_variants(self, approximation: str) -> tuple[str, ...]:
        """The same as variant keys."""
        return tuple(each.key for each in self.uniform(approximation))

    def _integer_tensors(self, approximation: str) -> set[int]:
        """Layers that write uint8 in the uniform configuration: those whose readers want it, where they can.

        Starting from all, layers that no candidate fits get float32, until every layer has a candidate.
        """
        integer = {
            producer
            for producer, consumer in self.edges
            if any(
                each.approximation == approximation and each.reads == INTEGER
                for each in self.layers[consumer]
            )
        }
        while stuck := self._stuck(integer):
            integer -= stuck
        return integer

    def _stuck(self, integer: set[int]) -> set[int]:
        """Of the tensors in uint8 those that leave the first such layer no candidate."""
        for index, candidates in enumerate(self.layers):
            read = self._sources(index) & integer
            if read and self._reads(index, integer) not in {each.reads for each in candidates}:
                return read
            if not self._fitting(index, integer):
                return {index} & integer or read
        return set()

    def _fitting(self, index: int, integer: set[int]) -> list[Candidate]:
        """Candidates of a layer where these write uint8 and the others float32, all of their channels."""
        reads, writes = self._reads(index, integer), INTEGER if index in integer else FLOAT
        return [each for each in self.layers[index] if each.reads == reads and each.writes == writes]

    def _reads(self, index: int, integer: set[int]) -> Form | None:
        """What the layer is given; None where that differs from tensor to tensor."""
        sources = self._sources(index)
        if sources & integer:
            return INTEGER if sources <= integer else None
        return FLOAT

    def _sources(self, index: int) -> set[int]:
        return {producer for producer, consumer in self.edges if consumer == index}
