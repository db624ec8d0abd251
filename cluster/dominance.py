"""Which options of a layer nobody needs: another one with the same forms costs no more in anything. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.problem import Option


def undominated(options: Sequence[Option], cut: frozenset[str]) -> NDArray[np.intp]:
    """Indices of the options for which no other one with the same forms costs no more in anything.

    An option that a cut names dominates nothing: the cut may be why the dearer one is needed.
    """
    costs = np.array([each.costs for each in options])
    forms = np.array([f"{each.reads}>{each.writes}" for each in options])
    free = np.array([each.variant not in cut for each in options])
    no_dearer = (costs[:, None] <= costs[None]).all(axis=2) & (forms[:, None] == forms[None]) & free[:, None]
    # Of equals the first stays.
    dominates = no_dearer & ~np.tril(no_dearer & no_dearer.T)
    return np.flatnonzero(~dominates.any(axis=0))
