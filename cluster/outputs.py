"""What a run leaves behind, in one folder: ``OUT/RUN``.

``run.json``
    A ``RunRecord``: what ran and how it ended.
``configs/CLASS.UNIT.yaml``
    A ``DeviceResult``: bounds, configuration and certificate of one device, for people and programs.
``bundles/CLASS.UNIT/``
    What is deployed on that device.
``exact/CLASS.UNIT/``
    The exact configuration as a bundle: what relative bounds are verified against.
``choices/CLASS.UNIT.json``
    What the device can choose from, for ``blinknet configure``.
``report.html``
    The same for the eye.

Every file is written beside its place and moved there whole: a run that is killed leaves no half of one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.device_result import DeviceResult, from_yaml, to_yaml
from runtime.records import from_plain, to_plain

__all__ = [
    "DeviceResult",
    "OutputError",
    "RunFolder",
    "RunRecord",
    "find",
    "prepare",
    "read_result",
    "read_run",
    "write_atomically",
    "write_result",
    "write_run",
]


class OutputError(ValueError):
    """The run's folder cannot be written or read; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One execution of the job."""

    name: str
    run_file: str
    network: str
    network_sha256: str
    tracker: str
    """``HOST:PORT`` or ``embedded``."""
    store: str
    """Path of the measurement store."""
    started: str
    finished: str | None
    """ISO times; ``None`` while it runs."""
    verdicts: Mapping[str, str]
    """By ``CLASS.UNIT``."""
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where each file of a run is."""

    path: Path

    @property
    def record(self) -> Path:
        """What ran and how it ended."""
        return self.path / "run.json"

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    @property
    def store(self) -> Path:
        """The measurement store, where the run has one of its own."""
        return self.path / "measurements.sqlite"

    def configuration(self, device: str) -> Path:
        """The configuration file of ``CLASS.UNIT``."""
        return self.path / "configs" / f"{device}.yaml"

    def bundle(self, device: str) -> Path:
        """The bundle for ``CLASS.UNIT``: a folder."""
        return self.path / "bundles" / device

    def exact_bundle(self, device: str) -> Path:
        """The exact configuration for ``CLASS.UNIT`` as a bundle: what relative bounds refer to."""
        return self.path / "exact" / device

    def devices(self) -> tuple[str, ...]:
        """Those that have a configuration, in alphabetical order."""
        return tuple(sorted(each.stem for each in (self.path / "configs").glob("*.yaml")))


def prepare(out: Path, run: str) -> RunFolder:
    """Create ``OUT/RUN`` and prove that it can be written, before any work; raises ``OutputError``."""
    folder = RunFolder(out / run)
    try:
        for each in (folder.path / "configs", folder.path / "bundles"):
            each.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=each) as probe:
                probe.write(b"probe")
    except OSError as error:
        raise OutputError(
            f"{folder.path} cannot be written: {error}; name another folder with --out"
        ) from error
    return folder


def find(path: Path) -> RunFolder:
    """The folder of a run that has been started; raises ``OutputError`` if ``path`` is none."""
    folder = RunFolder(path)
    if not folder.record.is_file():
        raise OutputError(f"{path} is no run: it has no run.json; name OUT/RUN of `blinknet run`")
    return folder


def write_run(folder: RunFolder, record: RunRecord) -> None:
    """Write ``run.json``; raises ``OutputError``."""
    write_atomically(folder.record, json.dumps(to_plain(record), indent=2) + "\n")


def read_run(folder: RunFolder) -> RunRecord:
    """Read what ``write_run`` wrote; raises ``OutputError``."""
    try:
        return from_plain(RunRecord, json.loads(_read(folder.record)), "the record")
    except OutputError:
        raise
    except ValueError as error:
        raise _unusable(folder.record, error) from error


def write_result(folder: RunFolder, result: DeviceResult) -> Path:
    """Write the device's configuration file; raises ``OutputError``."""
    path = folder.configuration(result.configuration.device)
    write_atomically(path, to_yaml(result))
    return path


def read_result(folder: RunFolder, device: str) -> DeviceResult:
    """Read what ``write_result`` wrote; raises ``OutputError``."""
    path = folder.configuration(device)
    try:
        return from_yaml(_read(path))
    except OutputError:
        raise
    except ValueError as error:
        raise _unusable(path, error) from error


def write_atomically(path: Path, text: str) -> None:
    """The whole text or nothing: written beside its place, then moved there. Raises ``OutputError``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{path} cannot be written: {error}; make room, the same command goes on"
        ) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}; run `blinknet run` first") from error


def _unusable(path: Path, error: Exception) -> OutputError:
    return OutputError(f"{path} is not what BlinkNet wrote: {error}; run `blinknet run` again")
