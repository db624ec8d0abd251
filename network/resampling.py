"""Resizing as two matrices: what each row and each column of the output takes from the input.

ONNX's Resize in its modes ``nearest`` and ``linear`` is separable; a matrix says all of it, for the forward
pass, for gradients and for kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.errors import NetworkError
from network.layers import Layer

Matrix = NDArray[np.float32]


def matrices(layer: Layer) -> tuple[Matrix, Matrix]:
    """``(output height, input height)`` and ``(output width, input width)``."""
    pairs = zip(layer.output_shape[:2], layer.input_shape[:2], strict=True)
    rows, columns = (axis(layer.settings, *pair) for pair in pairs)
    return rows, columns


def axis(settings: Mapping[str, Any], target: int, source: int) -> Matrix:
    """The matrix ``(target, source)`` along one axis; rows sum to 1."""
    matrix = np.zeros((target, source), np.float32)
    for index in range(target):
        at = _coordinate(settings["coordinates"], index, target, source)
        for position, share in _shares(settings, at).items():
            matrix[index, min(max(position, 0), source - 1)] += share
    return matrix


def _shares(settings: Mapping[str, Any], at: float) -> dict[int, float]:
    if settings["mode"] == "nearest":
        return {_rounded(settings["rounding"], at): 1.0}
    left = floor(at)
    return {left: 1 - (at - left), left + 1: at - left}


def _coordinate(mode: str, index: int, target: int, source: int) -> float:
    """Where in the input an output lies."""
    match mode:
        case "half_pixel":
            return (index + 0.5) * source / target - 0.5
        case "pytorch_half_pixel":
            return (index + 0.5) * source / target - 0.5 if target > 1 else 0.0
        case "asymmetric":
            return index * source / target
        case "align_corners":
            return index * (source - 1) / (target - 1) if target > 1 else 0.0
    known = "half_pixel, pytorch_half_pixel, asymmetric or align_corners"
    raise NetworkError(f"a Resize has coordinates {mode}; export it with {known}")


def _rounded(mode: str, at: float) -> int:
    match mode:
        case "floor":
            return floor(at)
        case "ceil":
            return ceil(at)
        case "round_prefer_ceil":
            return floor(at + 0.5)
    return ceil(at - 0.5)
