"""Winograd's minimal filtering: a 3x3 convolution with fewer multiplications and the same result.

Lavin, Gray 2016, "Fast Algorithms for Convolutional Neural Networks". In real numbers nothing changes.

Error: rounding only, some 1e-6 of the largest output with tiles of 2, 1e-5 with tiles of 4.
Cost: 4/9 of the multiplications with tiles of 2, 1/4 with tiles of 4, and additions in proportion to inputs
and outputs; 16/9 and 4 times the stored weights; a workspace for transformed tiles. float32 only: int8 would
need more bits in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from network.approximations.context import Context
from network.approximations.method import Method
from network.approximations.stages import Convolve, Stages, saves
from network.kernels.winograd import TRANSFORMS

FEWEST_CHANNELS = 16
"""In and out: with fewer, the transforms cost more than the products."""


@dataclass(frozen=True, slots=True)
class WinogradTiles(Method):
    """Degree: rows and columns of outputs in a tile."""

    name: ClassVar[str] = "winograd"

    def fit(
        self,
        whole: Convolve,
        context: Context,  # noqa: ARG002 - nothing is fitted
        degrees: Sequence[Fraction] | None,  # noqa: ARG002 - shares of nothing
    ) -> Mapping[str, Stages]:
        """See Method.fit."""
        if not _applies(whole):
            return {}
        rows, columns, _ = whole.output_shape
        found = {
            str(size): (replace(whole, winograd=size),) for size in TRANSFORMS if min(rows, columns) >= size
        }
        return {degree: stages for degree, stages in found.items() if saves(stages, whole)}

    def refit(self, stages: Stages, base: Convolve, context: Context) -> Stages:  # noqa: ARG002
        """See Method.refit."""
        (before,) = stages
        return (replace(base, winograd=before.winograd if isinstance(before, Convolve) else 0),)


def _applies(whole: Convolve) -> bool:
    plain = (whole.kernel, whole.stride, whole.dilation, whole.groups) == ((3, 3), (1, 1), (1, 1), 1)
    return plain and min(whole.input_shape[2], whole.output_shape[2]) >= FEWEST_CHANNELS


METHOD = WinogradTiles()
