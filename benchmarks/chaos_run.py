"""A job that is kept going whatever happens to it, on a shelf of boards, and what its store tells.

The driver is the command that a user types, a process of its own; when it ends early it is started again, as
a user would. Where a job is through before the time is, the next one begins from nothing.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import numpy as np
import psutil

from benchmarks.networks import SHIPPED
from cost_model.device_event import DeviceEvent
from cost_model.errors import StoreError
from cost_model.store import Store
from examples.data import Samples
from tracker.address import Address

MARK = "BLINKNET_CHAOS"
NAME = "chaos"
SAMPLES = 300
BOUNDS = "latency: 90%@p50, memory: 80%, loss: 10pp"
"""With room to spare: what is asked here is whether the job survives."""


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement in a store."""

    number: int
    kernel: str
    device: str
    timed: bool


@dataclass
class ChaosRun:
    """One job after the other, each in a folder of its own."""

    folder: Path
    tracker: Address
    classes: tuple[str, ...]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    finished: list[str] = field(default_factory=list)
    """Jobs that ended with every device inside its bounds."""
    failed: list[str] = field(default_factory=list)
    """What those said that did not."""
    starts: int = 0
    kills: int = 0

    def __post_init__(self) -> None:
        self._jobs = 0
        self._driver: subprocess.Popen[str] | None = None
        self.started_s = 0.0
        self._log = self.folder / "driver.log"
        self._lock = threading.RLock()
        self._next_job()

    # --- the driver

    @property
    def store(self) -> Path:
        """Of the present job."""
        return self._out / NAME / "measurements.sqlite"

    @property
    def driver(self) -> int | None:
        """Its process, while it lives."""
        with self._lock:
            return self._driver.pid if self._driver and self._driver.poll() is None else None

    def tend(self, *, more: bool) -> bool:
        """Starts what has ended; whether anything is left to do.

        ``more``: begin another job when this one is through.
        """
        with self._lock:
            if self._driver is not None and (code := self._driver.poll()) is None:
                return True
            if self._driver is not None and code in (0, 1, 2):
                (self.finished if code == 0 else self.failed).append(self._log.read_text()[-2000:])
                if not more:
                    return False
                self._next_job()
            self._start()
            return True

    def interrupt(self, number: signal.Signals) -> bool:
        """Ends the driver by a signal, SIGINT as a terminal sends it; whether it ended."""
        with self._lock:
            if self._driver is None or self._driver.poll() is not None:
                return False
            if number == signal.SIGINT:
                os.killpg(self._driver.pid, number)
            else:
                os.kill(self._driver.pid, number)
            self.kills += 1
            try:
                self._driver.wait(60.0)
            except subprocess.TimeoutExpired:
                return False
            return True

    @property
    def job(self) -> int:
        """Number of the present one, from 1."""
        return self._jobs

    def working(self) -> bool:
        """Whether the driver of now has got so far that its devices have joined."""
        return self.driver is not None and any(
            each.kind == "joined" and each.at_s > self.started_s for each in self.story()
        )

    def processes(self) -> list[psutil.Process]:
        """Everything that its commands have started and that still lives."""
        return [each for each in psutil.process_iter() if self._is_ours(each)]

    # --- the store

    def story(self) -> tuple[DeviceEvent, ...]:
        """What happened to devices in the present job."""
        try:
            with Store(self.store, readonly=True) as store:
                return store.device_events()
        except StoreError:
            return ()

    def rows(self) -> list[Row]:
        """Measurements of the present job."""
        statement = "SELECT id, kernel, device, failure IS NULL FROM measurements"
        try:
            with closing(sqlite3.connect(f"{self.store.as_uri()}?mode=ro", uri=True)) as connection:
                found = connection.execute(statement).fetchall()
            return [Row(number, kernel, device, bool(timed)) for number, kernel, device, timed in found]
        except sqlite3.OperationalError:
            return []

    def _next_job(self) -> None:
        self._jobs += 1
        self._out = self.folder / f"job-{self._jobs}"
        self._out.mkdir(parents=True)
        self._run_file = self._out / "run.yaml"
        devices = "".join(f"  {name}: {{bounds: {{{BOUNDS}}}}}\n" for name in self.classes)
        _some_samples(self._out)
        head = dedent(f"""\
            name: {NAME}
            network: {SHIPPED["cifar10_quick"]}
            samples: {{calibration: calibration.npz, evaluation: evaluation.npz, scale: 0.00392156862745098}}
            approximations: [int8, lowrank, channels]
            degrees: ["3/4", "1/2"]
            measure: {{relative_ci: 0.05, budget_s: 0.05}}
            accuracy: {{fit_samples: 64, samples: 200}}
            verify: {{runs: 100, rounds: 2}}
            devices:
            """)
        self._run_file.write_text(head + devices)

    def _start(self) -> None:
        self.starts += 1
        self.started_s = time.time()
        arguments = ["run", str(self._run_file), "--out", str(self._out), "--tracker", str(self.tracker)]
        with self._log.open("w") as log:
            self._driver = subprocess.Popen(
                [sys.executable, "-m", "cluster", *arguments],
                env={**os.environ, MARK: self.mark},
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return bool(alive and process.environ().get(MARK) == self.mark)
        except psutil.Error:
            return False


def _some_samples(folder: Path) -> None:
    """Few: what is asked is whether the job survives, not what it finds."""
    for name in ("calibration", "evaluation"):
        samples = Samples.load(SHIPPED["cifar10_quick"].parent.parent / "fashion_mnist" / f"{name}.npz")
        samples[np.arange(SAMPLES)].save(folder / f"{name}.npz")
