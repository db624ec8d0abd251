"""Two images in, two answers out: what is seen, and a map of how far it is out."""

from __future__ import annotations

from benchmarks.networks.graph import Graph, Tensor
from benchmarks.networks.operators import add, concat, flatten, global_average, max_pool, relu
from benchmarks.networks.weighted import bn, conv, dense


def stereo(g: Graph, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of ten classes from the sum of both views, a map at a quarter of the size from both."""
    towers = [_tower(g, each) for each in (left, right)]
    joined = _conv(g, concat(g, *towers), 32)
    logits = dense(g, flatten(g, global_average(g, _conv(g, add(g, *towers), 64))), 10)
    return logits, conv(g, joined, 1, 3, padding=1)


def _tower(g: Graph, x: Tensor) -> Tensor:
    for channels in (16, 32):
        x = max_pool(g, _conv(g, x, channels), 2, stride=2)
    return x


def _conv(g: Graph, x: Tensor, channels: int) -> Tensor:
    return relu(g, bn(g, conv(g, x, channels, 3, padding=1, bias=False)))
