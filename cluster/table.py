"""The table of choices of one device class: every variant of every layer with what is known before measuring.

Pure: imports neither ray nor tvm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cost_model.features import Sample
from network.layers import DType


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
    input_dtype: DType
    output_dtype: DType
    steps: tuple[StepChoices, ...]
    parameter_bytes: int
    """Packed for this class."""
    live_bytes: int
    """Most bytes of activations and workspace alive at once while its kernels run."""


@dataclass(frozen=True, slots=True)
class Table:
    """Candidates for each layer of a network, in the network's order, for one device class."""

    network: str
    device_class: str
    target: str
    layers: tuple[tuple[Candidate, ...], ...]
    edges: tuple[tuple[int, int], ...]
    """Producer and consumer layer, by index: they agree on the element type between them."""
    samples: Mapping[str, Sample]
    """The cost model's features of every request."""
    input_bytes: int

    @property
    def requests(self) -> tuple[str, ...]:
        """Everything that could be measured, each content key once, in the network's order."""
        return tuple(self.samples)

    def candidate(self, layer: int, key: str) -> Candidate:
        """The variant ``key`` of the layer with that index."""
        return next(each for each in self.layers[layer] if each.key == key)

    def uniform(self, approximation: str) -> tuple[Candidate, ...]:
        """One approximation in every layer that has it, ``exact`` elsewhere, with fitting element types."""
        chosen: list[Candidate] = []
        for index, candidates in enumerate(self.layers):
            names = {each.approximation for each in candidates}
            name = approximation if approximation in names else "exact"
            dtype = "uint8" if self._consumers_read_integers(index, approximation) else "float32"
            chosen.append(
                next(
                    each
                    for each in candidates
                    if each.approximation == name
                    and (each.output_dtype == dtype or index + 1 == len(self.layers))
                )
            )
        return tuple(chosen)

    def uniform_variants(self, approximation: str) -> tuple[str, ...]:
        """The same as variant keys."""
        return tuple(each.key for each in self.uniform(approximation))

    def _consumers_read_integers(self, index: int, approximation: str) -> bool:
        consumers = [consumer for producer, consumer in self.edges if producer == index]
        return any(
            each.approximation == approximation and each.input_dtype == "uint8"
            for consumer in consumers
            for each in self.layers[consumer]
        )
