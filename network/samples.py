"""Labelled samples, as calibration and evaluation read them from ``.npz`` files.

A network with one input finds its samples in the array ``x``, one with several in an array for each, which is
called as the input. ``y`` are the labels of the first output; ``y_NAME`` are those of the output NAME, and
where there are any, ``y`` is not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from network.answers import Labels, class_shape
from network.errors import NetworkError
from network.layers import Network, Output


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What a network is given, with the right answers."""

    x: NDArray[np.float32]
    """``(n, channels, height, width)``: what the first input is given."""
    y: Labels
    """``(n,)``: the index of the right class; ``(n, *positions)`` where there is one for each position."""
    others: tuple[NDArray[np.float32], ...] = ()
    """What the other inputs are given, in their order."""
    labels: Mapping[int, Labels] = field(default_factory=dict)
    """Of each output by its position among them; left out, ``y`` are those of the first one."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def inputs(self) -> tuple[NDArray[np.float32], ...]:
        """What every input is given."""
        return self.x, *self.others

    @property
    def right(self) -> Mapping[int, Labels]:
        """The labels of every output that has some, by its position among them."""
        return self.labels or {0: self.y}

    @property
    def sha256(self) -> str:
        """Of shapes and values, so that equal samples from different files are one thing."""
        digest = hashlib.sha256(repr(self.x.shape).encode())
        for each in (*self.inputs, *(self.right[index] for index in sorted(self.right))):
            digest.update(np.ascontiguousarray(each).tobytes())
        digest.update(repr(sorted(self.labels)).encode() if self.labels else b"")
        return digest.hexdigest()

    def part(self, chosen: slice | NDArray[np.intp]) -> Samples:
        """Only some of them."""
        others = tuple(each[chosen] for each in self.others)
        labels = {index: each[chosen] for index, each in self.labels.items()}
        return Samples(self.x[chosen], self.y[chosen], others, labels)

    def take(self, count: int) -> Samples:
        """At most ``count`` samples, evenly spread: a file sorted by class still gives every class."""
        if count >= len(self):
            return self
        return self.part(np.arange(count) * len(self) // count)


def load_samples(path: str | Path, network: Network, scale: float = 1.0, offset: float = 0.0) -> Samples:
    """Read the arrays (n, channels, height, width) and labels (n,) that the network can be given.

    Series may leave out the height, which is 1.
    Inputs may have any numeric type; the network is given ``x * scale + offset`` in float32. Labels of an
    output with positions are (n,), one for all of them, or (n, *positions). Raises NetworkError for a file
    that is missing or broken, and for arrays that are missing, empty or do not fit.
    """
    arrays = _read(Path(path))
    shapes = network.input_shapes
    names = {name: "x" if len(shapes) == 1 else name for name in shapes}
    x, *others = (
        _images(path, arrays, names[name], shape, network.name) * np.float32(scale) + np.float32(offset)
        for name, shape in shapes.items()
    )
    for name, scaled in zip(names.values(), (x, *others), strict=True):
        _check_values(path, name, scaled, len(x))
    names_of_labels = _label_names(arrays, network)
    labels = {
        index: _labels(path, arrays, name, len(x), network.outputs[index], network.name)
        for index, name in names_of_labels.items()
    }
    own = names_of_labels == {0: "y"}
    return Samples(x, next(iter(labels.values())), tuple(others), {} if own else labels)


def _label_names(arrays: Mapping[str, NDArray[Any]], network: Network) -> dict[int, str]:
    """Which array holds the labels of which output, by its position."""
    named = {index: f"y_{output.name}" for index, output in enumerate(network.outputs)}
    return {index: name for index, name in named.items() if name in arrays} or {0: "y"}


def _read(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise NetworkError(f"{path} is a single array; write both with numpy.savez(path, x=..., y=...)")
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise NetworkError(f"no samples at {path}; name an .npz file with the arrays x and y") from None
    except NetworkError:
        raise
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        reason = f"{path} cannot be read as .npz ({error})"
        raise NetworkError(f"{reason}; write it with numpy.savez(path, x=..., y=...)") from error


def _numeric(path: str | Path, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise NetworkError(f"{path} has no array {name} (it has: {found}); write it with numpy.savez")
    array = arrays[name]
    if array.dtype.kind not in "iufb":
        raise NetworkError(f"{path}: array {name} has type {array.dtype}; it must be numeric")
    return array


def _images(
    path: str | Path, arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...], network: str
) -> NDArray[np.float32]:
    """The samples of one input, as they are stored, in float32."""
    x = _numeric(path, arrays, name)
    if x.ndim == 3 and shape[1] == 1:
        x = x[:, :, np.newaxis]
    if x.ndim != 4 or x.shape[1:] != shape:
        wanted = ", ".join(map(str, shape))
        raise NetworkError(
            f"{path}: array {name} has shape {x.shape}, network {network} reads (n, {wanted}); "
            "reshape the samples (channels come before height and width)"
        )
    return x.astype(np.float32)


def _check_values(path: str | Path, name: str, x: NDArray[np.float32], count: int) -> None:
    if len(x) == 0:
        raise NetworkError(f"{path} holds no samples; write at least one")
    if len(x) != count:
        raise NetworkError(
            f"{path}: array {name} holds {len(x)} samples, the first input {count}; write as many of each"
        )
    if not np.isfinite(x).all():
        raise NetworkError(f"{path}: array {name} holds values that are not finite; remove those samples")


def _labels(
    path: str | Path, arrays: Mapping[str, NDArray[Any]], name: str, count: int, output: Output, network: str
) -> Labels:
    """Of one output."""
    y = _numeric(path, arrays, name)
    classes, positions = class_shape(output.shape)
    shapes = [(count,), *([(count, *output.shape[1:])] if positions > 1 else [])]
    if y.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise NetworkError(f"{path}: array {name} has shape {y.shape}; {count} samples need labels {wanted}")
    if not np.isfinite(y).all() or (y != np.floor(y)).any():
        raise NetworkError(f"{path}: labels in array {name} must be whole numbers")
    if y.min() < 0 or y.max() >= classes:
        raise NetworkError(
            f"{path}: labels in array {name} go from {y.min()} to {y.max()}; "
            f"network {network} has classes 0 to {classes - 1}"
        )
    return y.astype(np.int64)
