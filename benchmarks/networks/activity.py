"""A network in one dimension: which of six activities a phone's motion sensors saw."""

from __future__ import annotations

from benchmarks.networks.graph import Graph, Tensor
from benchmarks.networks.operators import global_average, max_pool, relu, squeeze
from benchmarks.networks.weighted import bn, conv, dense


def activity(g: Graph, x: Tensor) -> Tensor:
    """Logits; tensors are (batch, channels, length)."""
    for channels in (32, 64, 128):
        x = relu(g, bn(g, conv(g, x, channels, 5, padding=2, bias=False)))
        x = max_pool(g, x, 2, stride=2)
    return dense(g, squeeze(g, global_average(g, x)), 6)
