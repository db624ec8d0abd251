"""Values as plain bytes: JSON, and the contents of arrays behind it. Pure.

What a session's process sends back may be what a device made of that process: pickle would run whatever it
says. Here a record becomes a mapping and a tuple a list; whoever reads them checks them, see ``answers``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.failure import GarbledError

_SIZE: Final = struct.Struct("<q")
_ARRAY: Final = "array"
LARGEST_BYTES: Final = 1 << 30


def encode(value: Any) -> bytes:
    """None, numbers, texts, float32 arrays, and lists, mappings and records of them."""
    arrays: list[NDArray[Any]] = []
    tree = json.dumps(_flat(value, arrays)).encode()
    return b"".join([_SIZE.pack(len(tree)), tree, *(each.tobytes() for each in arrays)])


def decode(data: bytes) -> Any:
    """What ``encode`` wrote; raises GarbledError for anything else."""
    try:
        (size,) = _SIZE.unpack_from(data)
        start = _SIZE.size + size
        if not 0 < size <= len(data) - _SIZE.size:
            raise ValueError("it is cut off")
        contents = _Contents(memoryview(data)[start:])
        value = _full(json.loads(data[_SIZE.size : start]), contents)
        contents.expect_end()
    except (ValueError, TypeError, KeyError, struct.error, RecursionError) as error:
        raise GarbledError(f"an answer cannot be read: {error}") from error
    return value


def _flat(value: Any, arrays: list[NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value, np.float32))
        return {_ARRAY: list(value.shape)}
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {"of": {name: _flat(each, arrays) for name, each in value.items()}}
    if isinstance(value, list | tuple):
        return [_flat(each, arrays) for each in value]
    return value


def _full(value: Any, contents: _Contents) -> Any:
    if isinstance(value, list):
        return [_full(each, contents) for each in value]
    if isinstance(value, dict):
        if _ARRAY in value:
            return contents.array(value[_ARRAY])
        return {name: _full(each, contents) for name, each in value["of"].items()}
    return value


class _Contents:
    """The bytes of arrays, in order."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def array(self, shape: list[int]) -> NDArray[np.float32]:
        if not all(isinstance(each, int) and each >= 0 for each in shape):
            raise ValueError("that is no shape")
        size = 4 * math.prod(shape)
        if size > len(self._data):
            raise ValueError("an array is cut off")
        values = np.frombuffer(self._data[:size], np.float32).reshape(shape).copy()
        self._data = self._data[size:]
        return values

    def expect_end(self) -> None:
        if len(self._data):
            raise ValueError("there is more than it announces")
