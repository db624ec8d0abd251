"""What each device has spent on the goal of a run; survives the driver.

Without it a run that is started again would count from nothing and try further configurations, although
nothing has changed.
"""

from __future__ import annotations

import json
from pathlib import Path

from cluster.needs import Spent
from cluster.outputs import write_atomically


class Rounds:
    """A small file beside the run; what belongs to other goals or versions counts for nothing."""

    def __init__(self, path: Path, terms: str) -> None:
        """``terms``: everything that makes earlier rounds another matter, as text."""
        self._path = path
        self._terms = terms
        self._rounds, self._evaluations = self._read("rounds"), self._read("evaluations")

    def of(self, device: str) -> int:
        """Configurations that the device has run under these terms."""
        return self._rounds.get(device, 0)

    def spent(self, device: str) -> Spent:
        """Configurations that it has run, and those that were evaluated for it."""
        return Spent(self.of(device), self._evaluations.get(device, 0))

    def add(self, device: str) -> None:
        """One more run; written at once."""
        self._rounds[device] = self.of(device) + 1
        self._write()

    def add_evaluation(self, device: str) -> None:
        """One more evaluation; written at once."""
        self._evaluations[device] = self.spent(device).evaluations + 1
        self._write()

    def _write(self) -> None:
        content = {"terms": self._terms, "rounds": self._rounds, "evaluations": self._evaluations}
        write_atomically(self._path, json.dumps(content, indent=1) + "\n")

    def _read(self, what: str) -> dict[str, int]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            return dict(content[what]) if content["terms"] == self._terms else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
