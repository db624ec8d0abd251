"""Instruction sets, one module each: its facts in ``ISA`` and its integer dot product in ``dot``.

To add one, add a file: every module in this folder that has an ``ISA`` is found.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from network.errors import NetworkError
from network.isa import Isa


@cache
def _modules() -> dict[str, ModuleType]:
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    return {module.ISA.name: module for module in modules if hasattr(module, "ISA")}


def known() -> tuple[Isa, ...]:
    """Every instruction set there is, the most capable first."""
    isas = (module.ISA for module in _modules().values())
    return tuple(sorted(isas, key=lambda isa: (isa.lanes, isa.group, len(isa.requires)), reverse=True))


def select(architecture: str, features: Iterable[str]) -> Isa:
    """The most capable instruction set that a processor with these features can run.

    ``architecture`` is named as by ``uname -m``, ``features`` as in /proc/cpuinfo. Raises NetworkError when
    no instruction set fits.
    """
    present = frozenset(features)
    for isa in known():
        if isa.fits(architecture, present):
            return isa
    raise NetworkError(f"{_misfit(architecture, present)}; add a file for it to network/isas")


def _misfit(architecture: str, features: frozenset[str]) -> str:
    candidates = [isa for isa in known() if isa.architecture == architecture]
    if not candidates:
        architectures = ", ".join(sorted({isa.architecture for isa in known()}))
        return f"no instruction set is known for the architecture {architecture}, only for {architectures}"
    weakest = candidates[-1]
    missing = ", ".join(sorted(set(weakest.requires) - features))
    return (
        f"no instruction set fits the {architecture} processor: {weakest.name} is the least that is known "
        f"and the processor lacks {missing}"
    )


def dot(isa: Isa, accumulator: Any, activations: Any, weights: Any) -> Any:
    """The TIR expression of ``accumulator + activations . weights``, exact in int32.

    ``accumulator`` is int32 x ``lanes``, to be read through ``sums``; ``activations`` is one int32 that
    holds ``group`` elements of the type ``isa.activation`` (for all lanes the same), or is the element where
    a group is one; ``weights`` is int8 x ``lanes * group``, ordered ``[group / adjacent][lanes][adjacent]``.
    """
    return _modules()[isa.name].dot(accumulator, activations, weights)


def sums(isa: Isa, accumulator: Any) -> Any:
    """The sums, int32 x ``lanes``, of what ``dot`` accumulated: the same, unless a module has a ``sums``."""
    module = _modules()[isa.name]
    return module.sums(accumulator) if hasattr(module, "sums") else accumulator
