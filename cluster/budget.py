"""How much a run may measure: `--budget 5m`, or `--budget 200` for so many measurements. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import inf
from typing import Final

SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Budget:
    """When it is spent, nothing more is measured to find a better choice; what is chosen still runs."""

    seconds: float = inf
    """Since the run began."""
    measurements: float = inf
    """Of kernels, on all devices together."""

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Raises ValueError for what is neither a time nor a number."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])|(\d+)", text.strip())
        if found is None:
            raise ValueError(
                f"{text!r} is no budget; write a time such as 90s, 5m or 2h, or a number such as 200"
            )
        time, unit, count = found.groups()
        return cls(measurements=int(count)) if count else cls(seconds=float(time) * SECONDS[unit])

    def after(self, seconds: float) -> Budget:
        """What is left of it when so much time has gone."""
        return replace(self, seconds=self.seconds - seconds)

    def spent(self, elapsed_s: float, measured: int) -> bool:
        """Whether it is."""
        return elapsed_s >= self.seconds or measured >= self.measurements


UNLIMITED: Final = Budget()
