"""SqueezeNet 1.1 (Iandola et al. 2016; the revision that its authors published)."""

from __future__ import annotations

from benchmarks.networks.graph import Graph, Tensor
from benchmarks.networks.operators import concat, dropout, flatten, global_average, max_pool, relu
from benchmarks.networks.weighted import conv

STAGES = (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256)))
"""A pool, then fire modules: channels squeezed to, and channels of each of two expansions."""


def squeezenet(g: Graph, x: Tensor) -> Tensor:
    """Logits, from a convolution; pools round up."""
    x = relu(g, conv(g, x, 64, 3, stride=2))
    for stage in STAGES:
        x = max_pool(g, x, 3, stride=2, ceil=True)
        for squeezed, expanded in stage:
            x = _fire(g, x, squeezed, expanded)
    x = relu(g, conv(g, dropout(g, x), 1000, 1))
    return flatten(g, global_average(g, x))


def _fire(g: Graph, x: Tensor, squeezed: int, expanded: int) -> Tensor:
    x = relu(g, conv(g, x, squeezed, 1))
    return concat(g, relu(g, conv(g, x, expanded, 1)), relu(g, conv(g, x, expanded, 3, padding=1)))
