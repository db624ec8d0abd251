"""Checks a kernel's named parameters before they are packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.errors import NetworkError
from network.variants import TensorSpec

Parameters = Mapping[str, NDArray[Any]]


def checked(owner: str, expected: Mapping[str, TensorSpec], given: Parameters) -> dict[str, NDArray[Any]]:
    """The parameters in the order of ``expected``, contiguous.

    Raises NetworkError when one is missing, is not known, or has another shape or element type.
    """
    if set(given) != set(expected):
        raise NetworkError(
            f"{owner}: takes the parameters {sorted(expected)} and was given {sorted(given)}; "
            "pass exactly those"
        )
    return {name: _checked_array(owner, name, spec, given[name]) for name, spec in expected.items()}


def _checked_array(owner: str, name: str, spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    if tuple(array.shape) != spec.shape or str(array.dtype) != spec.dtype:
        raise NetworkError(
            f"{owner}: parameter {name} is {array.dtype}{list(array.shape)}; "
            f"pass it as {spec.dtype}{list(spec.shape)}"
        )
    return np.ascontiguousarray(array)


def check(owner: str, holds: bool, complaint: str) -> None:
    """Raise NetworkError naming the kernel unless what it needs holds."""
    if not holds:
        raise NetworkError(f"{owner}: {complaint}")
