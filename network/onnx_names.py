"""Readable, unique layer names out of what exporters write."""

from __future__ import annotations

import re
from collections.abc import Set
from itertools import count

from network.onnx_graph import Node


def unique_name(node: Node, prefix: str, taken: Set[str]) -> str:
    """The node's name in short; ``prefix`` and a number where it has none or the name is taken.

    ``/features/features.0/Conv`` becomes ``features.0``.
    """
    name = _shorten(node)
    if name:
        return free_name(name, taken)
    return next(each for index in count(1) if (each := f"{prefix}{index}") not in taken)


def free_name(name: str, taken: Set[str]) -> str:
    """The name, with a number where it is taken."""
    further = (f"{name}_{index}" for index in count(1))
    return name if name not in taken else next(each for each in further if each not in taken)


def _shorten(node: Node) -> str:
    parts = [part for part in node.name.split("/") if part]
    if len(parts) > 1 and re.fullmatch(rf"{node.kind}(_\d+)?", parts[-1], re.IGNORECASE):
        parts.pop()
    followers = (*parts[1:], "")
    pairs = zip(parts, followers, strict=False)
    kept = [part for part, next_part in pairs if not next_part.startswith(f"{part}.")]
    return plain_name(".".join(kept))


def plain_name(name: str) -> str:
    """Without what would have to be quoted in files and commands."""
    return re.sub(r"[^\w.\-]", "_", name)
