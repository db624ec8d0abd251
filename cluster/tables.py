"""How every table of the command line looks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 200


def console() -> Console:
    """Standard output; where it is no terminal, wide enough that nothing folds."""
    on_terminal = Console()
    return on_terminal if on_terminal.is_terminal else Console(width=PLAIN_WIDTH)


def plain_table(*left: str, right: Sequence[str] = ()) -> Table:
    """Columns without lines; cells fold where the terminal is narrow."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right", overflow="fold")
    return table
