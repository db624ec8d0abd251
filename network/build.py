"""Compiles many kernels into one shared library."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from network.isa import Isa
from network.link import linker
from network.lowering import compiled
from network.target import Target
from network.variants import Kernel

Tile = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BuiltLibrary:
    """A library with one function ``(input, *packed parameters, output)`` a kernel."""

    path: Path
    symbols: Mapping[str, str]
    """Request key to function name."""
    failures: Mapping[str, str]
    """Request key to why it is not in the library."""


def request_key(kernel: Kernel, tile: Tile) -> str:
    """What one compiled function is known by: the kernel's key and its tile."""
    return f"{kernel.key} tile{'x'.join(map(str, tile))}"


def symbol(key: str) -> str:
    """The function's name in a library: the same for the same request key."""
    return "blinknet_" + hashlib.sha256(key.encode()).hexdigest()[:20]


def build_library(requests: Sequence[tuple[Kernel, Tile]], target: Target, path: Path) -> BuiltLibrary:
    """Compile the kernels for ``target`` into the shared library ``path``.

    A kernel that cannot be compiled is reported in ``failures``; the others are built. Equal requests are
    built once, and equal calls give equal libraries. Raises NetworkError when no linker is found.
    """
    link = linker(target.mtriple)
    unique = {request_key(kernel, tile): (kernel, tile) for kernel, tile in requests}
    functions, failures = prim_funcs(unique, target.isa)
    executable, culprits = _compiled_without_culprits(functions, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    executable.export_library(str(path), fcompile=link)
    symbols = {key: symbol(key) for key in functions if key not in culprits}
    return BuiltLibrary(path, symbols, {**failures, **culprits})


def prim_funcs(
    requests: Mapping[str, tuple[Kernel, Tile]], isa: Isa
) -> tuple[dict[str, Any], dict[str, str]]:
    """The PrimFuncs by request key, and what went wrong with those that could not be made."""
    functions: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for key, (kernel, tile) in sorted(requests.items()):
        try:
            functions[key] = kernel.prim_func(isa, tile).with_attr("global_symbol", symbol(key))
        except Exception as error:  # A failure is a value here: it must not spoil the other kernels.
            failures[key] = f"{type(error).__name__}: {error}"
    return functions, failures


def _compiled_without_culprits(functions: Mapping[str, Any], target: Target) -> tuple[Any, dict[str, str]]:
    try:
        return compiled(functions, target), {}
    except Exception:
        culprits = _culprits(functions, target)
        good = {key: function for key, function in functions.items() if key not in culprits}
        return compiled(good, target), culprits


def _culprits(functions: Mapping[str, Any], target: Target) -> dict[str, str]:
    """The functions that do not compile, each with its error: one by one, since this is rarely needed."""
    errors: dict[str, str] = {}
    for key, function in functions.items():
        try:
            compiled({key: function}, target)
        except Exception as error:
            errors[key] = f"{type(error).__name__}: {error}"
    return errors
