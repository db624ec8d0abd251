"""The measurement store: append-only SQLite beside the run, with one writer.

What is measured once is never measured again. Every append is one transaction, synced to disk: a kill at any
moment loses nothing that was committed and leaves no half rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from cost_model.context_reading import ContextReading
from cost_model.device_event import DeviceEvent
from cost_model.errors import StoreError
from cost_model.measurement import Evaluation, Measurement, NetworkRun
from cost_model.schema import (
    APPLICATION_ID,
    CONTEXT_READINGS,
    DEVICE_EVENTS,
    EVALUATIONS,
    MEASUREMENTS,
    OLDEST_VERSION,
    RUNS,
    TABLES,
    VERSION,
    Record,
    Table,
)
from cost_model.writer_lock import WriterLock

_NEXT_STEP = {
    sqlite3.SQLITE_NOTADB: "give the path of a store, or move this file away to start an empty one",
    sqlite3.SQLITE_CORRUPT: "restore it from a copy, or move it away to start an empty one",
    sqlite3.SQLITE_FULL: "free disk space and start the run again: everything committed before is kept",
    sqlite3.SQLITE_IOERR: "check the disk's space and health; everything committed before is kept",
    sqlite3.SQLITE_CANTOPEN: "choose a file in a folder that exists and is writable",
    sqlite3.SQLITE_READONLY: "open it for writing in a folder that is writable",
    sqlite3.SQLITE_BUSY: "wait for the process that has it open",
    sqlite3.SQLITE_CONSTRAINT: "nothing in a store is ever changed: append another take with force=True",
}


class Store:
    """Measurements, readings in context, evaluations, runs and what happened to devices in one file.

    Opened for writing it is made if it does not exist, and no other process can write until it is closed.
    Opened with ``readonly=True`` it needs no lock and sees every committed append of a writer at work.
    A store of an older schema keeps its rows: opened for writing it gains the tables and columns it lacks,
    read-only it answers as though they were empty.
    Raises ``StoreError`` for a file that is no store, damaged, locked, or of a newer BlinkNet.
    """

    def __init__(self, path: str | Path, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self.readonly = readonly
        if readonly and not self.path.is_file():
            raise StoreError(
                f"there is no store at {self.path}; check the path, or start a run that makes it"
            )
        self._lock = None if readonly else WriterLock(self.path)
        try:
            with self._explained("open"):
                self._connection = self._connect()
                self._prepare()
        except StoreError:
            self.close()
            raise

    def append_measurements(
        self, measurements: Iterable[Measurement], *, force: bool = False, each_unit: bool = False
    ) -> int:
        """All or none; how many were new. ``force`` keeps another take of what is already known.

        What one unit of a class has measured is known for all, but where ``each_unit`` of it shall measure.
        """
        return self._append(MEASUREMENTS, measurements, force, ("device",) if each_unit else ())

    def append_evaluations(self, evaluations: Iterable[Evaluation], *, force: bool = False) -> int:
        """All or none; how many were new. ``force`` keeps another take of what is already known."""
        return self._append(EVALUATIONS, evaluations, force)

    def append_runs(self, runs: Iterable[NetworkRun], *, force: bool = False) -> int:
        """All or none; how many were new. ``force`` keeps another take of what is already known."""
        return self._append(RUNS, runs, force)

    def append_context_readings(self, readings: Iterable[ContextReading], *, force: bool = False) -> int:
        """All or none; how many were new. ``force`` keeps another take of what is already known."""
        return self._append(CONTEXT_READINGS, readings, force)

    def append_device_events(self, events: Iterable[DeviceEvent]) -> int:
        """All or none, each of them another row; how many there were."""
        return self._append(DEVICE_EVENTS, events, force=True)

    def measurements(self, device_class: str, target: str, versions: str) -> dict[str, Measurement]:
        """Kernel key to its latest measurement, failures included."""
        found = self._select(MEASUREMENTS, device_class=device_class, target=target, versions=versions)
        return {each.kernel: each for each in found}

    def unit_measurements(
        self, device_class: str, target: str, versions: str
    ) -> dict[str, dict[str, Measurement]]:
        """Kernel key to unit to its latest measurement, failures included; mostly there is one unit."""
        found: dict[str, dict[str, Measurement]] = {}
        for each in self._select(MEASUREMENTS, device_class=device_class, target=target, versions=versions):
            found.setdefault(each.kernel, {})[each.device] = each
        return found

    def evaluations(self, network: str, samples: str, versions: str) -> dict[str, Evaluation]:
        """Configuration key to its latest evaluation."""
        found = self._select(EVALUATIONS, network=network, samples=samples, versions=versions)
        return {each.configuration: each for each in found}

    def runs(self, network: str, device_class: str, target: str, versions: str) -> tuple[NetworkRun, ...]:
        """Every run, on any device of the class, in the order they were appended."""
        return tuple(
            self._select(RUNS, network=network, device_class=device_class, target=target, versions=versions)
        )

    def context_readings(
        self, device_class: str, target: str, versions: str, network: str | None = None
    ) -> tuple[ContextReading, ...]:
        """Every reading on any device of the class, of one network or of all, in the order appended."""
        given = {"device_class": device_class, "target": target, "versions": versions}
        return tuple(
            self._select(CONTEXT_READINGS, **given, **({} if network is None else {"network": network}))
        )

    def device_events(self, device: str | None = None) -> tuple[DeviceEvent, ...]:
        """What happened to one device, or to all, in the order it was appended."""
        given = {} if device is None else {"device": device}
        return tuple(self._select(DEVICE_EVENTS, **given))

    def count(self) -> dict[str, int]:
        """Rows in each table, every take counted."""
        with self._explained("read"):
            return {each.name: self._count(each) for each in TABLES}

    def close(self) -> None:
        """Give up the file and the writer's lock; harmless when called again."""
        if connection := getattr(self, "_connection", None):
            connection.close()
        if self._lock:
            self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(
        self, table: Table[Record], records: Iterable[Record], force: bool, within: tuple[str, ...] = ()
    ) -> int:
        rows = [table.encode(each) for each in records]
        with self._explained("append to"), self._transaction():
            statement = table.insert(force, within)
            return sum(self._connection.execute(statement, row).rowcount for row in rows)

    def _select(self, table: Table[Record], **given: str) -> Iterator[Record]:
        with self._explained("read"):
            if not self._holds(table):
                return iter(())
            rows = self._connection.execute(
                table.select(tuple(given), self._version()), tuple(given.values())
            ).fetchall()
        return map(table.decode, rows)

    def _count(self, table: Table[Any]) -> int:
        statement = f"SELECT COUNT(*) FROM {table.name}"  # noqa: S608
        return int(self._connection.execute(statement).fetchone()[0]) if self._holds(table) else 0

    def _holds(self, table: Table[Any]) -> bool:
        """Whether the file has the table; an older one that is only read may lack it until a writer comes."""
        return table.since <= self._version()

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={'ro' if self.readonly else 'rwc'}"
        return sqlite3.connect(uri, uri=True, isolation_level=None)

    def _prepare(self) -> None:
        if not self.readonly and self._is_empty():
            self._create(version=0)
        # Nothing may be changed, not even the journal's mode, before it is known that the file is a store.
        self._check_version()
        if not self.readonly:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._check_pages()
            if (version := self._version()) < VERSION:
                self._create(version)

    def _is_empty(self) -> bool:
        return bool(self._connection.execute("SELECT COUNT(*) = 0 FROM sqlite_master").fetchone()[0])

    def _create(self, version: int) -> None:
        """Add what a store of that version of the schema lacks."""
        with self._transaction():
            for statement in (each for table in TABLES for each in table.steps(version)):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _check_pages(self) -> None:
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StoreError(f"{self.path} is damaged: {verdict}; {_NEXT_STEP[sqlite3.SQLITE_CORRUPT]}")

    def _check_version(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        version = self._version()
        if application != APPLICATION_ID:
            raise StoreError(
                f"{self.path} is a database of another program; choose another path for the store"
            )
        if not OLDEST_VERSION <= version <= VERSION:
            raise StoreError(
                f"{self.path} has schema {version}, this BlinkNet reads schema {VERSION}; "
                f"{'upgrade BlinkNet' if version > VERSION else 'move it away to start an empty one'}"
            )

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk has already rolled back.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            advice = _NEXT_STEP.get(code, "check that no other program has the file open")
            raise StoreError(f"cannot {doing} the store {self.path}: {error}; {advice}") from error
