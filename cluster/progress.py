"""Shows how far a run is: a live table on a terminal, one plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cluster.coordinator import Progress

PLAIN_EVERY_S = 5.0
MOST_DEVICES = 24
"""That are shown one by one."""
LIVE_EVERY_S = 0.25


class ProgressView:
    """A context manager; call it with the coordinator's progress as often as you like."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )
        self._start = self._last = time.monotonic()
        self._first: dict[str, tuple[float, int]] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, progress: Callable[[], Sequence[Progress]]) -> None:
        """Show it, if it is time; a large fleet is not looked through more often than that."""
        if time.monotonic() - self._last < (LIVE_EVERY_S if self._live else PLAIN_EVERY_S):
            return
        rows = self._rows(progress())
        self._last = time.monotonic()
        if self._live:
            self._live.update(_table(rows))
        elif rows:
            text = "; ".join(" ".join(each for each in row if each) for row in rows)
            self._console.print(f"[{self._last - self._start:4.0f} s] {text}", markup=False, soft_wrap=True)

    def _rows(self, progress: Sequence[Progress]) -> list[tuple[str, ...]]:
        """One for each device, or for each class of a large fleet."""
        if len(progress) <= MOST_DEVICES:
            return [self._row(each) for each in progress]
        classes: dict[str, list[Progress]] = {}
        for each in progress:
            classes.setdefault(each.device.partition(".")[0], []).append(each)
        return [self._row(_summary(name, members)) for name, members in classes.items()]

    def _row(self, each: Progress) -> tuple[str, ...]:
        now = time.monotonic()
        since, already = self._first.setdefault(each.device, (now, each.measured))
        rate = (each.measured - already) / (now - since) if now > since else 0.0
        left = (each.wanted - each.measured) / rate if rate > 0 else None
        return (
            each.device,
            each.stage,
            f"{each.measured}/{each.wanted}",
            f"{rate:.1f}/s",
            "" if left is None or each.stage == "done" else f"{left:.0f} s left",
            each.best,
        )


def _summary(name: str, members: Sequence[Progress]) -> Progress:
    """A class as though it were one device: the stages of its units, and how many are in each."""
    stages = Counter(each.stage for each in members)
    stage = (
        "done" if len(stages) == 1 and "done" in stages else ", ".join(f"{n} {s}" for s, n in stages.items())
    )
    return Progress(name, stage, members[0].measured, members[0].wanted)


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("device", "stage", "kernels", "rate", "", "so far"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    return table
