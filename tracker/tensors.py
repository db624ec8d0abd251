"""Tensors for functions to be timed: filled, and used again. On the device itself, or over RPC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm.runtime

from tracker.timing import Argument

RANDOM_FILL = "tvm.contrib.random.random_fill"


class Tensors:
    """Those of the last function that was timed, on one device."""

    def __init__(self, device: Any, function: Callable[[str], Any | None]) -> None:
        """``function`` finds a global function where the device is, or None."""
        self._device = device
        self._function = function
        self._last: list[tuple[Argument, Any]] = []

    def filled(self, arguments: Sequence[Argument]) -> list[Any]:
        """A tensor for each argument, where possible one of the last call's: kernels of a layer are alike.

        What the kernels before them left in their results is as good as anything: it is written anew.
        """
        last, tensors = self._last, []
        for argument in arguments:
            found = next((index for index, (known, _) in enumerate(last) if known == argument), None)
            tensors.append(self.fill(*argument) if found is None else last.pop(found)[1])
        self._last = list(zip(arguments, tensors, strict=True))
        return tensors

    def fill(self, shape: tuple[int, ...], dtype: str, fill: str) -> Any:
        """A new tensor: untouched memory times too fast, and denormal numbers too slow."""
        if fill == "random" and (random_fill := self._function(RANDOM_FILL)):
            tensor = tvm.runtime.empty(shape, dtype, self._device)
            random_fill(tensor)
            return tensor
        return tvm.runtime.tensor(host_values(shape, dtype, fill), self._device)


def host_values(shape: tuple[int, ...], dtype: str, fill: str) -> np.ndarray[Any, Any]:
    """What a tensor is filled with from here."""
    count = int(np.prod(shape))
    if fill == "zeros":
        return np.zeros(shape, dtype)
    if fill == "range":
        return np.arange(count).astype(dtype).reshape(shape)
    return np.random.default_rng(0).uniform(1, 10, count).astype(dtype).reshape(shape)
