"""Lets a device that has become too hot cool down, for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_LOOK_EVERY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Cooling:
    """When to wait, and how long. Where a device reports no temperature nobody waits."""

    max_c: float | None = 80.0
    """Above it a device is left alone; ``None``: never."""
    margin_c: float = 5.0
    """It goes on when it is that much cooler than the limit..."""
    patience_s: float = 60.0
    """... or after so long, and what is measured then is flagged."""

    def too_hot(self, temperature_c: float | None) -> bool:
        """Whether it is to be left alone."""
        return self.max_c is not None and temperature_c is not None and temperature_c > self.max_c


def cool_down(
    cooling: Cooling,
    read: Callable[[], float | None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Return when the device is cool again, reports no temperature any more, or the patience is over."""
    until = clock() + cooling.patience_s
    while cooling.max_c is not None and clock() < until:
        sleep(_LOOK_EVERY_S)
        temperature_c = read()
        if temperature_c is None or temperature_c <= cooling.max_c - cooling.margin_c:
            return
