"""Divergences of approximations that nobody evaluated, from what their errors mean to the network's answer.

What an approximation's outputs miss on calibration samples, weighed by how much the answer depends on them
(``network.sensitivity``), ranks the structures of a layer nearly as their divergences do, without an
evaluation; a few that are evaluated give the layer its scale. A number format and a structure err
independently: their divergences add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Final

import numpy as np

EXACT: Final = "exact"
LEAST: Final = 1e-12
"""What less is, counts as that: logarithms are compared."""
Pair = tuple[str, str]
"""A layer and an approximation of it."""


@dataclass(frozen=True, slots=True)
class Trait:
    """What an approximation is made of."""

    number_format: str
    structure: str
    """``exact`` where only the numbers are others."""
    felt: float
    """Of the structure: mean squared error of the layer's outputs by how much the answer depends on them."""

    @property
    def composed(self) -> bool:
        """Whether both differ from the exact layer's."""
        return EXACT not in (self.number_format, self.structure)


NOTHING_FELT: Final[Mapping[Pair, Trait]] = {}


def anchors(traits: Mapping[Pair, Trait], most: int) -> dict[str, tuple[str, ...]]:
    """Layer to the approximations to evaluate, at most so many in all where that is possible.

    Every number format alone, and of each layer's structures as many as are left for it, at least one:
    evenly spread by how much their errors are felt. All approximations if there are no more than that.
    """
    if len(traits) <= most:
        return _by_layer(traits)
    formats = [pair for pair, each in traits.items() if each.structure == EXACT]
    structures = _by_layer({pair: each for pair, each in traits.items() if each.number_format == EXACT})
    count = max(1, (most - len(formats)) // max(1, len(structures)))
    found = [*formats]
    for layer, names in structures.items():
        ordered = sorted(names, key=lambda name, layer=layer: (traits[layer, name].felt, name))  # type: ignore[misc]
        found += [(layer, name) for name in _spread(ordered, count)]
    return _by_layer(dict.fromkeys(found))


def predicted(traits: Mapping[Pair, Trait], evaluated: Mapping[Pair, float]) -> dict[Pair, float]:
    """Divergences of what was not evaluated, where its layer's anchors were."""
    structures: dict[str, list[tuple[float, float]]] = {}
    for (layer, name), divergence in evaluated.items():
        trait = traits.get((layer, name))
        if trait is not None and trait.number_format == EXACT:
            structures.setdefault(layer, []).append((trait.felt, divergence))
    found = {}
    for (layer, name), trait in traits.items():
        alone = evaluated.get((layer, trait.number_format)) if trait.number_format != EXACT else 0.0
        if (layer, name) in evaluated or alone is None:
            continue
        exactly = evaluated.get((layer, trait.structure)) if trait.composed else None
        if exactly is not None:
            found[layer, name] = alone + exactly
        elif layer in structures:
            found[layer, name] = alone + _scaled(trait.felt, structures[layer])
    return found


def _scaled(felt: float, known: Sequence[tuple[float, float]]) -> float:
    """Between two that are known a power law, beyond them in proportion."""
    points = sorted((log(max(own, LEAST)), log(max(divergence, LEAST))) for own, divergence in known)
    xs, ys = (np.array(each) for each in zip(*points, strict=True))
    # What is felt more never diverges less.
    ys = np.maximum.accumulate(ys)
    x = log(max(felt, LEAST))
    return exp(float(np.interp(x, xs, ys)) + min(0.0, x - xs[0]) + max(0.0, x - xs[-1]))


def _spread(ordered: Sequence[str], count: int) -> list[str]:
    """In the middle of as many equal parts."""
    if count >= len(ordered):
        return list(ordered)
    return [ordered[(2 * part + 1) * len(ordered) // (2 * count)] for part in range(count)]


def _by_layer(pairs: Mapping[Pair, object]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for layer, name in pairs:
        found.setdefault(layer, []).append(name)
    return {layer: tuple(names) for layer, names in found.items()}
