"""Labelled samples, as calibration and evaluation read them from ``.npz`` files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from network.errors import NetworkError
from network.layers import Network


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What a network is given, with the right answers."""

    x: NDArray[np.float32]
    """``(n, channels, height, width)``."""
    y: NDArray[np.int64]
    """``(n,)``: the index of the right logit."""

    def __len__(self) -> int:
        return len(self.y)

    @property
    def sha256(self) -> str:
        """Of shapes and values, so that equal samples from different files are one thing."""
        digest = hashlib.sha256(repr(self.x.shape).encode())
        digest.update(np.ascontiguousarray(self.x).tobytes())
        digest.update(np.ascontiguousarray(self.y).tobytes())
        return digest.hexdigest()

    def take(self, count: int) -> Samples:
        """At most ``count`` samples, evenly spread: a file sorted by class still gives every class."""
        if count >= len(self):
            return self
        chosen = np.arange(count) * len(self) // count
        return Samples(self.x[chosen], self.y[chosen])


def load_samples(path: str | Path, network: Network, scale: float = 1.0, offset: float = 0.0) -> Samples:
    """Read the arrays ``x`` (n, channels, height, width) and ``y`` (n,) that the network can be given.

    Series may leave out the height, which is 1.
    ``x`` may have any numeric type; the network is given ``x * scale + offset`` in float32. Raises
    NetworkError for a file that is missing or broken, and for arrays that are missing, empty or do not fit.
    """
    arrays = _read(Path(path))
    x, y = (_numeric(path, arrays, name) for name in ("x", "y"))
    if x.ndim == 3 and network.input_shape[1] == 1:
        x = x[:, :, np.newaxis]
    _check_images(path, x, network)
    _check_labels(path, x, y, network)
    scaled = x.astype(np.float32) * np.float32(scale) + np.float32(offset)
    if not np.isfinite(scaled).all():
        raise NetworkError(f"{path}: array x holds values that are not finite; remove those samples")
    return Samples(scaled, y.astype(np.int64))


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


def _check_images(path: str | Path, x: NDArray[Any], network: Network) -> None:
    if x.ndim != 4 or x.shape[1:] != network.input_shape:
        wanted = ", ".join(map(str, network.input_shape))
        raise NetworkError(
            f"{path}: array x has shape {x.shape}, network {network.name} reads (n, {wanted}); "
            "reshape the samples (channels come before height and width)"
        )
    if len(x) == 0:
        raise NetworkError(f"{path} holds no samples; write at least one")


def _check_labels(path: str | Path, x: NDArray[Any], y: NDArray[Any], network: Network) -> None:
    if y.shape != (len(x),):
        raise NetworkError(f"{path}: array y has shape {y.shape}; {len(x)} samples need labels ({len(x)},)")
    if not np.isfinite(y).all() or (y != np.floor(y)).any():
        raise NetworkError(f"{path}: labels in array y must be whole numbers")
    if y.min() < 0 or y.max() >= network.output_size:
        raise NetworkError(
            f"{path}: labels in array y go from {y.min()} to {y.max()}; "
            f"network {network.name} has classes 0 to {network.output_size - 1}"
        )
