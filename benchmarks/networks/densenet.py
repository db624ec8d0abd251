"""DenseNet-BC (Huang et al. 2017) with 40 layers and a growth of 12, for images of 32x32."""

from __future__ import annotations

from benchmarks.networks.graph import Graph, Tensor
from benchmarks.networks.operators import average_pool, concat, flatten, global_average, relu
from benchmarks.networks.weighted import bn, conv, dense

GROWTH, BLOCKS, LAYERS = 12, 3, 6


def densenet(g: Graph, x: Tensor) -> Tensor:
    """Logits; norms stand before convolutions and read what others read too, so they cannot be folded."""
    x = conv(g, x, 2 * GROWTH, 3, padding=1, bias=False)
    for block in range(BLOCKS):
        if block:
            x = average_pool(g, _activated(g, x, x.channels // 2, 1), 2, stride=2)
        for _ in range(LAYERS):
            y = _activated(g, x, 4 * GROWTH, 1)
            x = concat(g, x, _activated(g, y, GROWTH, 3))
    return dense(g, flatten(g, global_average(g, relu(g, bn(g, x)))), 10)


def _activated(g: Graph, x: Tensor, channels: int, kernel: int) -> Tensor:
    return conv(g, relu(g, bn(g, x)), channels, kernel, padding=kernel // 2, bias=False)
