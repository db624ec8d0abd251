"""Input-channel selection: a convolution that reads only the channels that matter, with refitted weights.

Channels are removed one at a time, always the one whose loss the others make up for best on calibration data:
the optimal brain surgeon's rule for groups of weights (Hassibi, Stork 1993) on the problem of He et al. 2017,
"Channel Pruning for Accelerating Very Deep Neural Networks". Weights and bias are refitted by least squares.

Error: what the removed channels say that the kept ones cannot; about that of low rank at the same degree.
Cost: a share of the operations and of the stored weights equal to the degree; no further tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.method import Method, kept
from network.approximations.rows import Exact, Rows, inverse_covariance, regress, sample_rows
from network.approximations.stages import Convolve, Stages

LARGEST_WINDOW = 8192
"""Inputs of one output beyond which the statistics, which grow with their square, no longer fit in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Kept channels with what least squares needs of them."""

    channels: NDArray[np.intp]
    inverse: Exact
    """Of the kept inputs' covariance, channel after channel: ``(kept * taps, kept * taps)``."""
    weight: Exact
    """``(kept * taps, co)``, refitted."""


@dataclass(frozen=True, slots=True)
class Channels(Method):
    """Degree: the share of input channels that are kept."""

    name: ClassVar[str] = "channels"

    def fit(
        self, whole: Convolve, context: Context, degrees: Sequence[Fraction] | None
    ) -> Mapping[str, Stages]:
        """See Method.fit."""
        counts = kept(whole.input_shape[2], degrees)
        if not counts or whole.groups > 1 or whole.weight[0].size > LARGEST_WINDOW:
            return {}
        rows = sample_rows(whole, context)
        sizes = {size: degree for degree, size in counts.items()}
        fitted = {
            sizes[len(each.channels)]: _stages(whole, rows, each)
            for each in _eliminate(whole, rows, min(sizes))
            if len(each.channels) in sizes
        }
        return {degree: fitted[degree] for degree in counts}

    def refit(self, stages: Stages, base: Convolve, context: Context) -> Stages:  # noqa: ARG002
        """See Method.refit: the base is the selection, and whoever solved it has fitted it."""
        return (base,)

    def base(self, stages: Stages, whole: Convolve) -> Convolve:  # noqa: ARG002
        """See Method.base: the channels that were selected."""
        return next(each for each in stages if isinstance(each, Convolve))


def _eliminate(whole: Convolve, rows: Rows, fewest: int) -> Iterator[Selection]:
    """Selections with one channel fewer each, from all channels but one down to ``fewest``."""
    selection = _everything(whole, rows)
    while len(selection.channels) > fewest:
        selection = _without(selection, _least_important(selection, rows.metric))
        yield selection


def _everything(whole: Convolve, rows: Rows) -> Selection:
    outputs, height, width, channels = whole.weight.shape
    order = _columns(np.arange(channels), height * width, channels)
    weight = whole.weight.reshape(outputs, -1).T.astype(np.float64)
    return Selection(np.arange(channels), inverse_covariance(rows.x)[np.ix_(order, order)], weight[order])


def _least_important(selection: Selection, metric: Exact) -> int:
    """Position of the channel whose removal, refitted, adds the least error by the metric."""
    count = len(selection.channels)
    taps = len(selection.weight) // count
    blocks = selection.inverse.reshape(count, taps, count, taps)[np.arange(count), :, np.arange(count), :]
    weight = (selection.weight @ metric).reshape(count, taps, -1)
    return int(np.argmin(np.sum(weight * np.linalg.solve(blocks, weight), axis=(1, 2))))


def _without(selection: Selection, position: int) -> Selection:
    """Remove a channel; the others take over what they can."""
    taps = len(selection.weight) // len(selection.channels)
    gone = slice(position * taps, (position + 1) * taps)
    others = np.delete(np.arange(len(selection.weight)), gone)
    shared = selection.inverse[others, gone]
    block = np.linalg.inv(selection.inverse[gone, gone])
    inverse = selection.inverse[np.ix_(others, others)] - shared @ block @ shared.T
    weight = selection.weight[others] - shared @ (block @ selection.weight[gone])
    return Selection(np.delete(selection.channels, position), inverse, weight)


def _stages(whole: Convolve, rows: Rows, selection: Selection) -> Stages:
    outputs, height, width, channels = whole.weight.shape
    taps, count = height * width, len(selection.channels)
    columns = _columns(selection.channels, taps, channels)
    inputs = np.ascontiguousarray(rows.x[:, columns])
    targets = rows.y + rows.y_mean
    weight, mean = regress(inputs, targets, selection.inverse, (selection.weight, rows.y_mean), whole.relu)
    bias = mean - rows.x_mean[columns] @ weight
    packed = weight.T.reshape(outputs, count, height, width).transpose(0, 2, 3, 1)
    index = selection.channels.astype(np.int32)
    return (
        replace(
            whole,
            weight=np.ascontiguousarray(packed, dtype=np.float32),
            bias=bias.astype(np.float32),
            index=index,
        ),
    )


def _columns(channels: NDArray[np.intp], taps: int, count: int) -> NDArray[np.intp]:
    """Where a window ``(taps, count)`` holds these channels, channel after channel."""
    return (np.arange(taps) * count + channels[:, None]).reshape(-1)


METHOD = Channels()
