"""x86-64 microarchitecture levels: which features a device of that level must not show.

https://gitlab.com/x86-psABIs/x86-64-ABI defines the levels; the names here are Linux's in /proc/cpuinfo.
Hiding lets one machine stand for several device classes. It enforces nothing: a kernel may still use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

Level = Literal["x86-64-v2", "x86-64-v3", "x86-64-v4"]

_ABOVE_V3: Final = ("avx512", "avx_", "avx10", "amx", "vaes", "vpclmulqdq", "gfni", "sha")
_ABOVE_V2: Final = (*_ABOVE_V3, "avx", "fma", "f16c", "bmi", "abm", "movbe", "adx", "xop", "tbm")

_HIDDEN: Final[dict[str, tuple[str, ...]]] = {
    "x86-64-v2": _ABOVE_V2,
    "x86-64-v3": _ABOVE_V3,
    "x86-64-v4": (),
}
LEVELS: Final = tuple(_HIDDEN)


def visible(features: Sequence[str], level: Level | None) -> tuple[str, ...]:
    """The features that a device of this level shows; all of them without a level."""
    hidden = _HIDDEN[level] if level else ()
    return tuple(feature for feature in features if not feature.startswith(hidden))
