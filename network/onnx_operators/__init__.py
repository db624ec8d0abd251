"""ONNX operators, by family: each is a function from a node and the tensors it reads to the one it writes.

A module with a table ``OPERATORS`` is found by itself: adding an operator is adding a function to a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from network.draft import Draft, Tensor
from network.onnx_graph import Node

Operator = Callable[[Draft, Node, tuple[Tensor, ...]], Tensor]


@cache
def operators() -> Mapping[str, Operator]:
    """Every operator by ONNX's name for it, in the order of the alphabet."""
    found: dict[str, Operator] = {}
    for module in iter_modules(__path__):
        found |= getattr(import_module(f"{__name__}.{module.name}"), "OPERATORS", {})
    return dict(sorted(found.items()))
