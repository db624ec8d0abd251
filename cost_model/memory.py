"""The memory model: what a configuration keeps in memory while it runs.

Peak is all parameters and the largest live set (``docs/design.md``); the library and the executor come on
top, as verified runs of the device show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def peak_bytes(layers: Sequence[LayerMemory]) -> int:
    """Most bytes alive at once: parameters of all layers and the largest live set."""
    largest = max((each.live_bytes for each in layers), default=0)
    return sum(each.parameter_bytes for each in layers) + largest
