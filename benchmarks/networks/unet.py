"""U-Net (Ronneberger et al. 2015), padded, at a quarter of its width: a map out, by three ways to enlarge."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.networks.graph import Graph, Tensor
from benchmarks.networks.operators import concat, max_pool, relu, resize, sigmoid
from benchmarks.networks.weighted import bn, conv, transposed

WIDTHS = (16, 32, 64, 128)

Enlarge = Callable[[Graph, Tensor, int], Tensor]
"""To twice the size and so many channels."""


def unet_nearest(g: Graph, x: Tensor) -> Tensor:
    """Which share of a pixel is foreground, 0 to 1; pixels are repeated on the way up."""
    return sigmoid(g, conv(g, _unet(g, x, _repeated), 1, 1))


def unet_bilinear(g: Graph, x: Tensor) -> Tensor:
    """Logits of two classes a pixel; interpolates on the way up."""
    return conv(g, _unet(g, x, _interpolated), 2, 1)


def unet_transposed(g: Graph, x: Tensor) -> Tensor:
    """Logits of two classes a pixel; transposed convolutions, as in the paper."""
    return conv(g, _unet(g, x, _transposed), 2, 1)


def _unet(g: Graph, x: Tensor, enlarge: Enlarge) -> Tensor:
    skipped = []
    for width in WIDTHS[:-1]:
        skipped.append(_twice(g, x, width))
        x = max_pool(g, skipped[-1], 2, stride=2)
    x = _twice(g, x, WIDTHS[-1])
    for skip in reversed(skipped):
        x = _twice(g, concat(g, skip, enlarge(g, x, skip.channels)), skip.channels)
    return x


def _repeated(g: Graph, x: Tensor, channels: int) -> Tensor:
    return conv(g, resize(g, x, 2, "nearest"), channels, 1)


def _interpolated(g: Graph, x: Tensor, channels: int) -> Tensor:
    return conv(g, resize(g, x, 2, "linear"), channels, 1)


def _transposed(g: Graph, x: Tensor, channels: int) -> Tensor:
    return transposed(g, x, channels, 2)


def _twice(g: Graph, x: Tensor, channels: int) -> Tensor:
    for _ in range(2):
        x = relu(g, bn(g, conv(g, x, channels, 3, padding=1, bias=False)))
    return x
