"""How many configurations each device has tried for the bounds of a run; survives the driver.

Without it a run that is started again would count from nothing and try further configurations, although
nothing has changed.
"""

from __future__ import annotations

import json
from pathlib import Path

from cluster.outputs import write_atomically


class Rounds:
    """A small file beside the run; what belongs to other bounds or versions counts for nothing."""

    def __init__(self, path: Path, terms: str) -> None:
        """``terms``: everything that makes earlier rounds another matter, as text."""
        self._path = path
        self._terms = terms
        self._counts = self._read()

    def of(self, device: str) -> int:
        """Configurations that the device has run under these terms."""
        return self._counts.get(device, 0)

    def add(self, device: str) -> None:
        """One more; written at once."""
        self._counts[device] = self.of(device) + 1
        write_atomically(
            self._path, json.dumps({"terms": self._terms, "rounds": self._counts}, indent=1) + "\n"
        )

    def _read(self) -> dict[str, int]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            return dict(content["rounds"]) if content["terms"] == self._terms else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
