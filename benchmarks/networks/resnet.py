"""Residual networks (He et al. 2016, "Deep Residual Learning"), strides as torchvision has them."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.networks.graph import Graph, Tensor
from benchmarks.networks.operators import add, flatten, global_average, max_pool, relu
from benchmarks.networks.weighted import bn, conv, dense

Block = Callable[[Graph, Tensor, int, int], Tensor]
BRANCH = 0.3
"""The last norm's scale in a block. With 1, sums would double the variance sixteen times over."""


def resnet18(g: Graph, x: Tensor) -> Tensor:
    """Logits."""
    return _resnet(g, x, _basic, (2, 2, 2, 2))


def resnet50(g: Graph, x: Tensor) -> Tensor:
    """Logits."""
    return _resnet(g, x, _bottleneck, (3, 4, 6, 3))


def _resnet(g: Graph, x: Tensor, block: Block, depths: tuple[int, ...]) -> Tensor:
    x = max_pool(g, relu(g, _normed(g, x, 64, 7, stride=2)), 3, stride=2, padding=1)
    for stage, depth in enumerate(depths):
        for position in range(depth):
            x = block(g, x, 64 << stage, 2 if stage and not position else 1)
    return dense(g, flatten(g, global_average(g, x)), 1000)


def _basic(g: Graph, x: Tensor, width: int, stride: int) -> Tensor:
    y = relu(g, _normed(g, x, width, 3, stride=stride))
    y = _normed(g, y, width, 3, scale=BRANCH)
    return relu(g, add(g, y, _shortcut(g, x, width, stride)))


def _bottleneck(g: Graph, x: Tensor, width: int, stride: int) -> Tensor:
    y = relu(g, _normed(g, x, width, 1))
    y = relu(g, _normed(g, y, width, 3, stride=stride))
    y = _normed(g, y, 4 * width, 1, scale=BRANCH)
    return relu(g, add(g, y, _shortcut(g, x, 4 * width, stride)))


def _shortcut(g: Graph, x: Tensor, width: int, stride: int) -> Tensor:
    return x if (x.channels, stride) == (width, 1) else _normed(g, x, width, 1, stride=stride)


def _normed(g: Graph, x: Tensor, width: int, kernel: int, *, stride: int = 1, scale: float = 1.0) -> Tensor:
    return bn(g, conv(g, x, width, kernel, stride=stride, padding=kernel // 2, bias=False), scale)
