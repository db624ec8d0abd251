"""The store's tables, derived from the records: a field is a column, a tuple of floats a blob.

Floats are little-endian float64, so a file is the same on every machine; mappings are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Generic, TypeVar, get_type_hints

import numpy as np

from cost_model.context_reading import ContextReading
from cost_model.device_event import DeviceEvent
from cost_model.measurement import Evaluation, Measurement, NetworkRun

APPLICATION_ID = 0x424C4E4B
"""``BLNK``, in the file's header: tells our files from any other SQLite database."""
VERSION = 4
OLDEST_VERSION = 1
"""Stores from this version on are kept: opened for writing they gain what came later."""

Record = TypeVar("Record", Measurement, Evaluation, NetworkRun, DeviceEvent, ContextReading)
Floats = tuple[float, ...]
Conditions = Mapping[str, float | str]
_SQL_TYPES = {str: "TEXT", str | None: "TEXT", int: "INTEGER", bool: "INTEGER", float: "REAL"} | {
    int | None: "INTEGER",
    Floats: "BLOB",
    Conditions: "TEXT",
}


@dataclass(frozen=True)
class Table(Generic[Record]):
    """How records of one kind are kept. The SQL is built from names in this package, never from data."""

    name: str
    record: type[Record]
    identity: tuple[str, ...]
    """Columns that say what was measured, those that reading selects by first."""
    settled: str = "TRUE"
    """SQL condition of a row after which there is nothing left to measure."""
    since: int = OLDEST_VERSION
    """The schema's version that this table came with."""
    added: Mapping[str, int] = field(default_factory=dict)
    """Columns that came later, with the version; they may be empty, and are in older rows."""

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Column name to the field's type."""
        hints = get_type_hints(self.record)
        return {each.name: hints[each.name] for each in fields(self.record)}

    @property
    def create(self) -> tuple[str, ...]:
        """The table and the triggers that keep it append-only."""
        columns = [self._column(name) for name in self.columns]
        table = (
            f"CREATE TABLE {self.name} (id INTEGER PRIMARY KEY, take INTEGER NOT NULL, "
            "appended_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')), "
            f"{', '.join(columns)}, UNIQUE ({', '.join(self.identity)}, take)) STRICT"
        )
        return table, self._forbid("UPDATE"), self._forbid("DELETE")

    def steps(self, version: int) -> tuple[str, ...]:
        """What a store of that version lacks: the whole table, or the columns that came later."""
        if self.since > version:
            return self.create
        return tuple(
            f"ALTER TABLE {self.name} ADD COLUMN {self._column(name)}"
            for name, since in self.added.items()
            if since > version
        )

    def insert(self, force: bool, within: tuple[str, ...] = ()) -> str:
        """Append one more take; unless forced only where no settled one exists.

        ``within``: columns besides the identity that such a one agrees in.
        """
        names = ", ".join(self.columns)
        values = ", ".join(f":{name}" for name in self.columns)
        same = " AND ".join(f"{name} = :{name}" for name in self.identity)
        known = " AND ".join([same, *(f"{name} = :{name}" for name in within), self.settled])
        condition = "" if force else f" WHERE NOT EXISTS (SELECT 1 FROM {self.name} WHERE {known})"  # noqa: S608
        take = f"(SELECT COUNT(*) FROM {self.name} WHERE {same})"  # noqa: S608
        return f"INSERT INTO {self.name} (take, {names}) SELECT {take}, {values}{condition}"

    def select(self, given: tuple[str, ...], version: int) -> str:
        """Rows with these columns as given, all where none is, in the order they were appended.

        Of a store of that version: what it has no column for is empty.
        """
        condition = " AND ".join(f"{name} = ?" for name in given) or "TRUE"
        columns = (name if self.added.get(name, 0) <= version else "NULL" for name in self.columns)
        return f"SELECT {', '.join(columns)} FROM {self.name} WHERE {condition} ORDER BY id"  # noqa: S608

    def encode(self, record: Record) -> dict[str, Any]:
        """Column name to SQLite value."""
        return {name: _encode(kind, getattr(record, name)) for name, kind in self.columns.items()}

    def decode(self, row: tuple[Any, ...]) -> Record:
        """The record that ``encode`` was given."""
        values = zip(self.columns.items(), row, strict=True)
        return self.record(**{name: _decode(kind, value) for (name, kind), value in values})

    def _column(self, name: str) -> str:
        kind = self.columns[name]
        return f"{name} {_SQL_TYPES[kind]}{'' if kind in (str | None, int | None) else ' NOT NULL'}"

    def _forbid(self, action: str) -> str:
        return (
            f"CREATE TRIGGER {self.name}_no_{action.lower()} BEFORE {action} ON {self.name} "
            f"BEGIN SELECT RAISE(ABORT, '{self.name} is append-only: append another take instead'); END"
        )


MEASUREMENTS = Table(
    "measurements",
    Measurement,
    identity=("device_class", "target", "versions", "kernel"),
    # A failure may be the device's: a later attempt is another take without being forced.
    settled="failure IS NULL",
)
EVALUATIONS = Table(
    "evaluations",
    Evaluation,
    identity=("network", "samples", "versions", "configuration"),
    added={"gained": 4, "lost": 4},
)
RUNS = Table(
    "runs",
    NetworkRun,
    identity=("network", "device_class", "target", "versions", "configuration", "device"),
    added={"sessions": 4},
)
DEVICE_EVENTS = Table(
    "device_events", DeviceEvent, identity=("device", "at_s", "kind"), settled="FALSE", since=2
)
CONTEXT_READINGS = Table(
    "context_readings",
    ContextReading,
    identity=(
        "device_class", "target", "versions", "network", "configuration", "layer", "step", "device",
    ),
    since=3,
)  # fmt: skip
TABLES: tuple[Table[Any], ...] = (MEASUREMENTS, EVALUATIONS, RUNS, DEVICE_EVENTS, CONTEXT_READINGS)


def _encode(kind: Any, value: Any) -> Any:
    if kind == Floats:
        return np.asarray(value, dtype="<f8").tobytes()
    if kind == Conditions:
        return json.dumps(dict(value), sort_keys=True)
    return value


def _decode(kind: Any, value: Any) -> Any:
    if kind == Floats:
        return tuple(np.frombuffer(value, dtype="<f8").tolist())
    if kind == Conditions:
        return json.loads(value)
    return bool(value) if kind is bool else value
