"""Networks whose kernels read a clock: what is asked of a device, and what its stamps say. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker.failure import GarbledError
from tracker.timing import Argument, ArgumentSpec

STAMPS_OF_BEGINNING = 2
"""Of each run: one behind the other, so that what lies between them is one look at the clock."""


@dataclass(frozen=True, slots=True)
class ClockedNetwork:
    """A function ``entry(*arguments, stamps)`` of a library, that runs ``kernels`` kernels."""

    entry: str
    arguments: Sequence[ArgumentSpec]
    stamps: ArgumentSpec
    """Words: how many stamps there are, then seconds and nanoseconds of each."""
    kernels: int

    @property
    def plain(self) -> PlainClocked:
        """Without classes that the session's process does not know."""
        return PlainClocked(
            self.entry, [_plain(each) for each in self.arguments], _plain(self.stamps), self.kernels
        )


class PlainClocked(NamedTuple):
    """The plain form of a ``ClockedNetwork``."""

    entry: str
    arguments: list[Argument]
    stamps: Argument
    kernels: int


@dataclass(frozen=True, slots=True, eq=False)
class ClockedTimes:
    """What the clock said, every run in the order taken."""

    clock_s: NDArray[np.float64]
    """``(runs,)``: one look at the clock."""
    kernel_s: NDArray[np.float64]
    """``(runs, kernels)``: from the end of the kernel before to the end of this one, clock included."""
    network_s: NDArray[np.float64]
    """``(runs,)``: the whole run as its caller times it, with all looks at the clock."""

    @property
    def rest_s(self) -> NDArray[np.float64]:
        """``(runs,)``: what a run takes ahead of its kernels and behind them, without the clock."""
        rest: NDArray[np.float64] = self.network_s - self.kernel_s.sum(axis=1) - 2 * self.clock_s
        return np.maximum(rest, 0.0)


def intervals(words: NDArray[Any], runs: int, kernels: int) -> list[list[float]]:
    """Seconds between the stamps of each of the last ``runs`` runs: the clock alone, then each kernel.

    Raises GarbledError unless the device stamped so many runs and one before them, its clock going forward.
    """
    a_run = STAMPS_OF_BEGINNING + kernels
    stamped, expected = int(words[0]), (runs + 1) * a_run
    if stamped != expected or len(words) < 1 + 2 * expected:
        raise GarbledError(f"{stamped} stamps of a clock instead of {expected}")
    pairs = words[1 : 1 + 2 * expected].astype(np.int64).reshape(runs + 1, a_run, 2)[1:]
    nanoseconds = np.diff(pairs[..., 0] * 1_000_000_000 + pairs[..., 1], axis=1)
    if (nanoseconds < 0).any():
        raise GarbledError("a clock that goes backwards")
    return (nanoseconds * 1e-9).tolist()  # type: ignore[no-any-return]


def _plain(spec: ArgumentSpec) -> Argument:
    return Argument(tuple(spec.shape), spec.dtype, spec.fill)
