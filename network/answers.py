"""A network's answers: where their classes are, and how many of them are right.

The answers to n samples are one float32 array ``(n, *shape)`` for each output. The classes are an output's
channels, at every position on its own; where it has one channel only, they are its positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

Answers = tuple[NDArray[np.float32], ...]
Labels = NDArray[np.int64]


def class_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Number of classes, and of positions that have one each, of an output of that shape (without batch)."""
    classes, positions = shape[0], prod(shape[1:])
    return (classes, positions) if classes > 1 else (positions, 1)


def by_class(answer: NDArray[np.float32]) -> NDArray[np.float32]:
    """One output ``(n, *shape)`` as ``(n, classes, positions)``."""
    return answer.reshape(len(answer), *class_shape(answer.shape[1:]))


def count_right(answers: Answers, labels: Mapping[int, Labels]) -> tuple[int, int]:
    """How many labels are met, and how many there are.

    ``labels`` are those of an output by its position among them: ``(n,)``, one for all positions of a sample,
    or ``(n, ...)`` with one for each. Every position counts.
    """
    hits = _hits(answers, labels)
    return sum(int(each.sum()) for each in hits), sum(each.size for each in hits)


def count_turned(before: Answers, after: Answers, labels: Mapping[int, Labels]) -> tuple[int, int]:
    """How many labels are met after and not before, and how many before and not after."""
    pairs = list(zip(_hits(before, labels), _hits(after, labels), strict=True))
    gained = sum(int((new & ~old).sum()) for old, new in pairs)
    return gained, sum(int((old & ~new).sum()) for old, new in pairs)


def _hits(answers: Answers, labels: Mapping[int, Labels]) -> list[NDArray[np.bool_]]:
    """Of each output with labels, ``(n, positions)``: which of them are met."""
    return [
        by_class(answers[index]).argmax(axis=1) == each.reshape(len(each), -1)
        for index, each in labels.items()
    ]
