"""MobileNetV2 (Sandler et al. 2018, table 2) at width 1."""

from __future__ import annotations

from benchmarks.networks.graph import Graph, Tensor
from benchmarks.networks.operators import add, dropout, relu6, spatial_mean
from benchmarks.networks.weighted import bn, conv, dense

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first."""
BRANCH = 0.5
"""The scale of the norm whose output is added to what the block reads."""


def mobilenet_v2(g: Graph, x: Tensor) -> Tensor:
    """Logits; depthwise convolutions, ReLU6, and a mean where others have a global pool."""
    x = _normed(g, x, 32, 3, stride=2)
    for expansion, channels, blocks, stride in STAGES:
        for position in range(blocks):
            x = _inverted(g, x, expansion, channels, 1 if position else stride)
    x = _normed(g, x, 1280, 1)
    return dense(g, dropout(g, spatial_mean(g, x), 0.2), 1000)


def _inverted(g: Graph, x: Tensor, expansion: int, channels: int, stride: int) -> Tensor:
    wide = expansion * x.channels
    y = _normed(g, x, wide, 1) if expansion > 1 else x
    y = conv(g, _normed(g, y, wide, 3, stride=stride, groups=wide), channels, 1, bias=False)
    if (x.channels, stride) != (channels, 1):
        return bn(g, y)
    return add(g, x, bn(g, y, BRANCH))


def _normed(g: Graph, x: Tensor, channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> Tensor:
    y = conv(g, x, channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return relu6(g, bn(g, y))
