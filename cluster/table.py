"""The table of choices of one device class: every variant of every layer with what is known before measuring.

Pure: imports neither ray nor tvm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cost_model.features import Sample
from network.variants import Form


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

    @property
    def requests(self) -> tuple[str, ...]:
        """Everything that could be measured, each content key once, in the network's order."""
        return tuple(self.samples)

    def candidate(self, layer: int, key: str) -> Candidate:
        """The variant ``key`` of the layer with that index."""
        return next(each for each in self.layers[layer] if each.key == key)

    def uniform(self, approximation: str) -> tuple[Candidate, ...]:
        """One approximation in every layer that has it, ``exact`` elsewhere; neighbours agree."""
        chosen: dict[int, Candidate] = {}
        for index in reversed(range(len(self.layers))):
            wanted = {chosen[consumer].reads for producer, consumer in self.edges if producer == index}
            fitting = [each for each in self.layers[index] if not wanted or each.writes in wanted]
            named = [each for each in fitting if each.approximation == approximation]
            chosen[index] = next(iter(named or [each for each in fitting if each.approximation == "exact"]))
        return tuple(chosen[index] for index in range(len(self.layers)))

    def uniform_variants(self, approximation: str) -> tuple[str, ...]:
        """The same as variant keys."""
        return tuple(each.key for each in self.uniform(approximation))
