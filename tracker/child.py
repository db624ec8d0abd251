"""A module of this package, or a program, as a child process that cannot outlive its parent.

The child holds the reading end of a pipe, its lifeline, and ends when the writing end closes.
PR_SET_PDEATHSIG would do it as well, but it fires when the *thread* that started the child ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_LOG_TAIL_BYTES = 2000


class Log:
    """Where a process writes; what it wrote last is for error messages."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)

    def fileno(self) -> int:
        """For the process."""
        return self._file.fileno()

    def tail(self) -> str:
        """The last lines."""
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - _LOG_TAIL_BYTES)
        return os.pread(self.fileno(), _LOG_TAIL_BYTES, start).decode(errors="replace")

    def close(self) -> None:
        """May be called twice."""
        self._file.close()


class ChildProcess:
    """``python -m MODULE ARGUMENTS --lifeline FD``, its output kept for error messages.

    Instead of a module there may be the words of another command.

    Works whatever the current folder is: the package's root goes into PYTHONPATH.
    """

    def __init__(
        self,
        module: str | Sequence[str],
        arguments: Sequence[str],
        pass_fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        *,
        inherit_output: bool = False,
    ) -> None:
        """``prefix``: a command that runs the rest of its line in its place, such as ``ip netns exec``.

        What it writes goes to this process's own output where ``inherit_output`` says so.
        """
        reading, writing = os.pipe()
        self._lifeline = os.fdopen(writing, "wb", buffering=0)
        self._log = Log()
        try:
            self._process = subprocess.Popen(
                [*prefix, *_command(module), *arguments, "--lifeline", str(reading)],
                stdin=subprocess.DEVNULL,
                stdout=None if inherit_output else self._log.fileno(),
                stderr=None if inherit_output else subprocess.STDOUT,
                env=_environment(environment or {}),
                pass_fds=[reading, *pass_fds],
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its children in order.
            )
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; the signal's number, negated, when one ended it."""
        return self._process.poll()

    def log_tail(self) -> str:
        """The last lines that it wrote."""
        return self._log.tail()

    def stop(self, grace_s: float = 5.0) -> None:
        """Asks it to end, and kills it when it does not within ``grace_s``; may be called twice."""
        self._end(signal.SIGTERM, grace_s)

    def kill(self) -> None:
        """Kills it at once; may be called twice."""
        self._end(signal.SIGKILL, None)

    def _end(self, number: signal.Signals, grace_s: float | None) -> None:
        self._process.send_signal(number)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._lifeline.close()
        self._log.close()


def _command(module: str | Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", module] if isinstance(module, str) else list(module)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **extra, "PYTHONPATH": path}


def end_with_parent(lifeline: int) -> None:
    """Kills this process as soon as the parent closes its end of the lifeline or dies."""

    def watch() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
