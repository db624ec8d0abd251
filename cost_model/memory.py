"""The memory model: peak and storage of a configuration before it runs, and what verified runs teach.

Peak is all parameters, the largest live set and the library (``docs/design.md``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from network.variants import Work


@dataclass(frozen=True, slots=True)
class LayerMemory:
    """What one variant holds on the device."""

    parameter_bytes: int
    """Kept for as long as the network is loaded."""
    live_bytes: int
    """Alive at once while the layer runs: the most that any of its kernels needs."""

    @classmethod
    def of(cls, works: Sequence[Work]) -> LayerMemory:
        """Of a variant's kernels in order: each reads what the one before it wrote; none moves no byte."""
        return cls(
            parameter_bytes=sum(each.parameter_bytes for each in works),
            live_bytes=max(
                (each.input_bytes + each.output_bytes + each.workspace_bytes for each in works), default=0
            ),
        )


def peak_bytes(layers: Sequence[LayerMemory], library_bytes: int = 0) -> int:
    """Most bytes alive at once: parameters of all layers, the largest live set, the library."""
    largest = max((each.live_bytes for each in layers), default=0)
    return library_bytes + sum(each.parameter_bytes for each in layers) + largest


def storage_bytes(layers: Sequence[LayerMemory], library_bytes: int = 0) -> int:
    """Bytes on the device's disk: parameters of all layers and the library."""
    return library_bytes + sum(each.parameter_bytes for each in layers)


@dataclass(frozen=True, slots=True)
class Observation:
    """Bytes of one verified run."""

    device_class: str
    predicted_bytes: int
    measured_bytes: int


@dataclass(frozen=True, slots=True)
class Correction:
    """Bytes that verified runs of a class showed beyond the prediction.

    The largest excess counts, not the typical one: what once broke a bound is not proposed again.
    """

    offset_bytes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def fit(cls, observations: Iterable[Observation]) -> Correction:
        """Learn from verified runs of any number of classes."""
        offsets: dict[str, int] = {}
        for each in observations:
            excess = each.measured_bytes - each.predicted_bytes
            offsets[each.device_class] = max(offsets.get(each.device_class, excess), excess)
        return cls(offsets)

    def correct(self, device_class: str, predicted_bytes: int) -> int:
        """The prediction with what is known of the class; unchanged without a verified run."""
        return predicted_bytes + self.offset_bytes.get(device_class, 0)
