"""Which structures of a layer are worth kernels, told from calibration data before any device sees them.

A structure is dominated by another one that reads and writes the same if that one errs no more, plainly and
by how much the network's answer depends on it, and takes no more multiply-accumulates, stored numbers, memory
and kernels. Whatever the bounds, the other one is as good a choice, in every number format. Costs count in
small steps: less than one is nothing beside the whole network, and decides between equals only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.naming import EXACT
from network.approximations.rows import SENSITIVITY_FLOOR
from network.approximations.stages import Convolve, Index, Stages, reading_only, saves, writing_only

POSITIONS = 8192
"""Outputs of each channel behind an error, from at least FEWEST samples: more change no comparison."""
FEWEST = 8

STEPS = 100
"""Of each cost, in the whole network's."""

Errors = NDArray[np.float32]
"""``(co, co)``: mean products of the errors of two outputs."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What stages take on any device."""

    operations: int
    """Multiply-accumulates."""
    values: int
    """Numbers to store."""
    live: int
    """Numbers alive at once."""

    @classmethod
    def of(cls, stages: Stages) -> Costs:
        """Of one layer."""
        operations, values = (sum(each.operations for each in stages), sum(each.values for each in stages))
        return cls(operations, values, _live(stages))

    @classmethod
    def together(cls, several: Sequence[Costs]) -> Costs:
        """Of layers one behind the other."""
        operations, values = (sum(each.operations for each in several), sum(each.values for each in several))
        return cls(operations, values, max((each.live for each in several), default=1))

    def steps(self, total: Costs) -> tuple[int, int, int]:
        """Each in so many steps of the total."""
        operations, values, live = (
            round(STEPS * own / of) for own, of in zip(astuple(self), astuple(total), strict=True)
        )
        return operations, values, live


@dataclass(frozen=True, slots=True)
class Merit:
    """Less is better in each; costs count in steps."""

    error: float
    """Squared, of all outputs."""
    felt: float
    """The same by the sensitivity of the network's answer."""
    operations: int
    values: int
    live: int
    kernels: int

    def beats(self, other: Merit) -> bool:
        """Whether it is no worse in anything and better in something."""
        mine, others = astuple(self), astuple(other)
        return mine != others and all(a <= b for a, b in zip(mine, others, strict=True))


def worthwhile(
    structures: Mapping[str, Stages],
    context: Context,
    total: Costs,
    gathers: bool,
    written: Sequence[Index | None],
) -> dict[str, Stages]:
    """Structures that nothing else dominates in at least one form that the layer can write.

    ``total`` are the costs of the exact network. ``gathers`` says whether selections gather their channels
    from a tensor that holds all of them: if not, each reads a form of its own. ``written`` are the channels
    of each form; None is all of them.
    """
    missed = {name: errors(stages, context) for name, stages in structures.items()}
    kept: set[str] = set()
    for channels in written:
        shaped = {
            name: _shaped(stages, gathers, channels)
            for name, stages in structures.items()
            if name == EXACT or channels is None or _saves(structures, name, channels)
        }
        widths = {name: _read_width(each) for name, each in shaped.items()}
        merits = {
            name: Merit(
                *_error(missed[name], context, channels), *Costs.of(each).steps(total), kernels=len(each)
            )
            for name, each in shaped.items()
        }
        for width in set(widths.values()):
            kept |= undominated({name: each for name, each in merits.items() if widths[name] == width})
    return {name: stages for name, stages in structures.items() if name in kept}


def errors(stages: Stages, context: Context) -> Errors:
    """Of the stages' outputs on the first calibration samples."""
    count = max(FEWEST, ceil(POSITIONS / prod(context.outputs.shape[1:3])))
    y, wanted = context.inputs[:count], context.outputs[:count]
    for stage in stages:
        y = stage.run(y)
    missed = (y - wanted).reshape(-1, wanted.shape[3])
    return np.asarray(missed.T @ missed / len(missed))


def felt(stages: Stages, context: Context) -> float:
    """Squared error of the outputs, by the sensitivity of the network's answer where that is known."""
    return _error(errors(stages, context), context, None)[1]


def _error(missed: Errors, context: Context, channels: Index | None) -> tuple[float, float]:
    """Plainly and as it is felt, of those channels (None: all)."""
    sensitivity = context.sensitivity
    if channels is not None:
        chosen = np.ix_(channels, channels)
        missed, sensitivity = missed[chosen], None if sensitivity is None else sensitivity[chosen]
    plain = float(np.trace(missed))
    return plain, plain if sensitivity is None else _felt(missed, sensitivity)


def undominated(merits: Mapping[str, Merit]) -> frozenset[str]:
    """Names of the structures that no other one beats; the whole layer always is one.

    Of several that are alike in everything the first stays.
    """
    first: dict[Merit, str] = {}
    for name, each in merits.items():
        first.setdefault(each, name)
    return frozenset(
        name
        for name, each in merits.items()
        if name == EXACT or (first[each] == name and not any(other.beats(each) for other in merits.values()))
    )


def _shaped(stages: Stages, gathers: bool, channels: Index | None) -> Stages:
    narrow = stages if gathers or not _selects(stages) else reading_only(stages)
    return narrow if channels is None else writing_only(narrow, channels)


def _saves(structures: Mapping[str, Stages], name: str, channels: Index) -> bool:
    (whole,) = writing_only(structures[EXACT], channels)
    return isinstance(whole, Convolve) and saves(writing_only(structures[name], channels), whole)


def _selects(stages: Stages) -> bool:
    return isinstance(stages[0], Convolve) and stages[0].index is not None


def _read_width(shaped: Stages) -> int:
    first = shaped[0]
    return first.input_shape[2] if isinstance(first, Convolve) else 0


def _felt(missed: Errors, sensitivity: NDArray[np.float64]) -> float:
    floor = SENSITIVITY_FLOOR * np.trace(sensitivity) / len(sensitivity)
    return float(np.sum(missed * sensitivity) + floor * np.trace(missed))


def _live(stages: Stages) -> int:
    """What the largest of its kernels reads and writes."""
    first = stages[0]
    read = prod(first.input_shape) if isinstance(first, Convolve) else 0
    return max(sum(pair) for pair in pairwise([read, *(prod(stage.output_shape) for stage in stages)]))
