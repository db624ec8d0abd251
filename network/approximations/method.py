"""What a file of this folder provides as ``METHOD``: a number format or a structural method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.stages import Convolve, Stages
from network.kernels.storage import Storage
from network.layers import DType

Parameters = Mapping[str, NDArray[Any]]
DEGREES = tuple(Fraction(text) for text in ("3/4", "1/2", "3/8", "1/4", "1/8"))


@dataclass(frozen=True, slots=True)
class NumberFormat(ABC):
    """What kernels compute with: the element type that they read, and the parameters that this takes."""

    name: ClassVar[str]
    input_dtype: ClassVar[DType]
    storage: ClassVar[Storage] = ""
    """Of weights that it computes with in float32."""
    usual: ClassVar[bool] = True
    """Whether a run tries it that names no approximations."""

    @abstractmethod
    def parameters(self, stages: Stages, context: Context, output_dtype: DType) -> tuple[Parameters, ...]:
        """Of each stage's kernel, for a layer with weights."""


@dataclass(frozen=True, slots=True)
class Method(ABC):
    """Replaces a convolution by cheaper stages, fitted to calibration data in closed form."""

    name: ClassVar[str]
    usual: ClassVar[bool] = True
    """Whether a run tries it that names no approximations."""

    @abstractmethod
    def fit(
        self, whole: Convolve, context: Context, degrees: Sequence[Fraction] | None
    ) -> Mapping[str, Stages]:
        """Degree, as the name of the approximation states it, to stages.

        All degrees at once, because they share the statistics that cost the time. Degrees that change
        nothing, save nothing or repeat another are left out. A method may have degrees that are no share.
        """

    @abstractmethod
    def refit(self, stages: Stages, base: Convolve, context: Context) -> Stages:
        """Stages of the same shapes that stand for another convolution, under another context."""

    def base(self, stages: Stages, whole: Convolve) -> Convolve:  # noqa: ARG002 - selections need them
        """The convolution that such stages stand for."""
        return whole


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
