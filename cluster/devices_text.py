"""Rows of devices as a table, as lines, and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from cluster.devices import DeviceRow
from cluster.tables import plain_table
from network.errors import NetworkError
from network.target import Target

FIGURES = ("cores", "memory", "clock", "temperature", "f32 GFLOP/s", "int8 GOP/s", "GB/s", "call")
COLUMNS = ("class", "unit", "state", "arch", "features", *FIGURES, "seen", "agent")
FEW_FEATURES = 3
"""Shown of a processor that none of our instruction sets fits."""
AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
NOW_S = 3.0
"""Seen so lately is seen now."""


def device_table(rows: Sequence[DeviceRow], now_s: float, notes: Sequence[str] = ()) -> Table:
    """A row a device, without the columns that would be empty; ``notes`` stand below."""
    lines = [cells(row, now_s) for row in rows]
    used = [index for index, column in enumerate(zip(*lines, strict=True)) if any(column)]
    table = plain_table()
    for index in used:
        table.add_column(
            COLUMNS[index], justify="right" if COLUMNS[index] in FIGURES else "left", overflow="fold"
        )
    for line in lines:
        table.add_row(*(escape(line[index]) for index in used))
    table.caption = escape("\n".join(notes)) or None
    table.caption_justify = "left"
    return table


def device_line(row: DeviceRow, now_s: float) -> str:
    """The same as one line, where nothing can be drawn over."""
    device_class, unit, *rest = cells(row, now_s)
    return "  ".join([".".join(filter(None, (device_class, unit))), *filter(None, rest)])


def device_json(row: DeviceRow) -> str:
    """Everything, in base units, as one JSON object."""
    return json.dumps(asdict(row))


def cells(row: DeviceRow, now_s: float) -> tuple[str, ...]:
    """What the table shows of a device, in the order of its columns."""
    found = row.fingerprint
    rates = (found.float32_gflops, found.int8_gops, found.bandwidth_gb_s) if found else ()
    return (
        row.device_class or row.device,
        row.unit,
        _state(row, now_s),
        row.architecture,
        row.problem or features_text(row.architecture, row.features),
        "" if row.cores is None else str(row.cores),
        "" if row.memory_bytes is None else f"{row.memory_bytes / 2**30:.3g} GiB",
        "" if row.clock_hz is None else f"{row.clock_hz / 1e9:.2f} GHz",
        "" if row.temperature_c is None else f"{row.temperature_c:.0f} °C",
        *(f"{each:.3g}" for each in rates or ()),
        *([""] * (3 - len(rates))),
        "" if found is None else f"{found.call_s * 1e9:.3g} ns",
        "" if row.state == "lost" else age_text(row.seen_s, now_s),
        row.agent + (" (emulated)" if row.emulated else ""),
    )


def _state(row: DeviceRow, now_s: float) -> str:
    words: list[str] = [row.state]
    if row.state == "lost":
        words.append(f"last seen {age_text(row.seen_s, now_s)}".replace("now", "just now"))
    return ", ".join([*words, *filter(None, [row.reason])])


def features_text(architecture: str, features: Sequence[str]) -> str:
    """The instruction set that kernels use on such a processor; a few names where there are none for it."""
    if not architecture:
        return ""
    try:
        return Target.for_features(architecture, features).isa.name
    except NetworkError:
        more = f" and {len(features) - FEW_FEATURES} more" if len(features) > FEW_FEATURES else ""
        return " ".join(features[:FEW_FEATURES]) + more


def age_text(seen_s: float | None, now_s: float) -> str:
    """``now``, ``12 s ago``, ``5 min ago``, ``2 d ago``, or ``never``."""
    if seen_s is None:
        return "never"
    age_s = now_s - seen_s
    if age_s < NOW_S:
        return "now"
    size, unit = next((each for each in AGES if age_s >= each[0]), AGES[-1])
    return f"{age_s / size:.0f} {unit} ago"
