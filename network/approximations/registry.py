"""Every file of this folder that provides a ``METHOD``, by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from network.approximations.method import Method, NumberFormat
from network.approximations.naming import EXACT, Approximation, parse_name
from network.errors import NetworkError


def method_names() -> tuple[str, ...]:
    """Everything that a run file's ``approximations`` may name: number formats, then structural methods."""
    return (*formats(), *methods())


def parse(name: str) -> Approximation:
    """The approximation of that name, such as ``int8+lowrank(1/2)``. Raises NetworkError for any other."""
    return parse_name(name, formats(), methods())


def chosen_formats(names: Sequence[str] | None) -> tuple[NumberFormat, ...]:
    """Those that are named (None: the usual ones), ``exact`` always and first.

    Raises NetworkError for unknown names.
    """
    if unknown := sorted(set(names or ()) - set(method_names())):
        raise NetworkError(f"no approximation {', '.join(unknown)}; choose from {', '.join(method_names())}")
    return tuple(
        each for name, each in formats().items() if (each.usual if names is None else name in (*names, EXACT))
    )


@cache
def formats() -> Mapping[str, NumberFormat]:
    """Number formats by name, ``exact`` first."""
    found = {each.name: each for each in _discover() if isinstance(each, NumberFormat)}
    return {EXACT: found.pop(EXACT), **found}


@cache
def methods() -> Mapping[str, Method]:
    """Structural methods by name."""
    return {each.name: each for each in _discover() if isinstance(each, Method)}


def _discover() -> Iterator[object]:
    for module in iter_modules([str(Path(__file__).parent)]):
        yield getattr(import_module(f"network.approximations.{module.name}"), "METHOD", None)
