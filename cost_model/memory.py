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
    output_bytes: int = 0
    """What stays where a layer further behind reads it too."""

    @classmethod
    def of(cls, works: Sequence[Work]) -> LayerMemory:
        """Of a variant's kernels in order: each reads what the one before it wrote; none moves no byte."""
        return cls(
            parameter_bytes=sum(each.parameter_bytes for each in works),
            live_bytes=max(
                (each.input_bytes + each.output_bytes + each.workspace_bytes for each in works), default=0
            ),
            output_bytes=works[-1].output_bytes if works else 0,
        )


def peak_bytes(layers: Sequence[LayerMemory], held: Sequence[Sequence[int]] = ()) -> int:
    """Most bytes alive at once: parameters of all layers and the largest live set.

    ``held`` names for each layer those whose outputs wait beside it (``Network.held``); nothing: a chain.
    """
    beside = held or [()] * len(layers)
    live = (
        layer.live_bytes + sum(layers[index].output_bytes for index in waiting)
        for layer, waiting in zip(layers, beside, strict=True)
    )
    return sum(each.parameter_bytes for each in layers) + max(live, default=0)
