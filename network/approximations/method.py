"""What a file of this folder provides as ``METHOD``: a number format or a structural method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from network.approximations.context import Context
from network.approximations.stages import Stages
from network.layers import DType, Layer
from network.variants import Step

Lowered = tuple[DType, DType, tuple[Step, ...]]
"""Element types read and written, and the kernels."""
DEGREES = tuple(Fraction(text) for text in ("3/4", "1/2", "3/8", "1/4", "1/8"))


@dataclass(frozen=True, slots=True)
class NumberFormat(ABC):
    """Lowers what a layer computes to kernels that read one element type."""

    name: ClassVar[str]
    input_dtype: ClassVar[DType]

    @abstractmethod
    def lower(self, stages: Stages, context: Context, output_dtype: DType) -> tuple[Step, ...]:
        """Stages of a layer with weights."""

    @abstractmethod
    def lower_plain(self, layer: Layer, context: Context) -> Lowered | None:
        """A layer without weights; None where it does not apply."""


@dataclass(frozen=True, slots=True)
class Method(ABC):
    """Replaces a layer with weights by cheaper stages, refitted on calibration data in closed form."""

    name: ClassVar[str]

    @abstractmethod
    def fit(self, layer: Layer, context: Context, degrees: Sequence[Fraction] | None) -> Mapping[str, Stages]:
        """Degree, as the name of the approximation states it, to stages.

        All degrees at once, because they share the statistics that cost the time. Degrees that change
        nothing, save nothing or repeat another are left out. A method may have degrees that are no share.
        """

    def share(self, degree: str) -> Fraction:
        """What ``fit`` is asked for to get the stages of one degree that it has named."""
        return Fraction(degree)


def kept(count: int, degrees: Sequence[Fraction] | None) -> dict[str, int]:
    """Degree to how many of ``count`` it keeps: a multiple of 4, at least 4 and fewer than all; no doubles.

    Kernels work on 4 channels at a time at least, so anything in between costs the same time.
    """
    found: dict[int, str] = {}
    for degree in DEGREES if degrees is None else degrees:
        size = max(4, 4 * round(degree * count / 4))
        if size < count:
            found.setdefault(size, str(degree))
    return {degree: size for size, degree in found.items()}
