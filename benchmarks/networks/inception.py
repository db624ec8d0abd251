"""GoogLeNet (Szegedy et al. 2015) up to its second inception module, without its normalisation."""

from __future__ import annotations

from benchmarks.networks.graph import Graph, Tensor
from benchmarks.networks.operators import concat, flatten, global_average, max_pool, relu
from benchmarks.networks.weighted import conv, dense

MODULES = ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64))
"""3a and 3b of table 1: channels of 1x1, of 3x3 and what it reads, of 5x5 and what it reads, of the pool."""


def inception(g: Graph, x: Tensor) -> Tensor:
    """Logits; four branches a module, one of them a pool that keeps the size."""
    x = max_pool(g, _conv(g, x, 64, 7, stride=2), 3, stride=2, ceil=True)
    x = _conv(g, _conv(g, x, 64, 1), 192, 3)
    x = max_pool(g, x, 3, stride=2, ceil=True)
    for widths in MODULES:
        x = _module(g, x, *widths)
    return dense(g, flatten(g, global_average(g, x)), 1000)


def _module(
    g: Graph, x: Tensor, one: int, before3: int, three: int, before5: int, five: int, pool: int
) -> Tensor:
    return concat(
        g,
        _conv(g, x, one, 1),
        _conv(g, _conv(g, x, before3, 1), three, 3),
        _conv(g, _conv(g, x, before5, 1), five, 5),
        _conv(g, max_pool(g, x, 3, stride=1, padding=1), pool, 1),
    )


def _conv(g: Graph, x: Tensor, channels: int, kernel: int, *, stride: int = 1) -> Tensor:
    return relu(g, conv(g, x, channels, kernel, stride=stride, padding=kernel // 2))
