"""One session on the device's side: a forked process that runs TVM's server loop and can be killed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tracker.handshake import Hello

_PREFIX: Final = "blinknet-session-"
_PR_SET_PDEATHSIG: Final = 1
_HANG_UP_GRACE_S: Final = 0.5
_SEND_S: Final = 1.0
_STOPPED_S: Final = 3.0
"""A session that was stopped (SIGSTOP, a debugger) for so long would keep the device busy for ever."""


class ServedSession:
    """A client's exclusive use of this device, from the accepted connection to the removed folder.

    The folder holds what the client uploads; it is named after the agent's process, see ``sweep``.
    """

    def __init__(self, connection: socket.socket, hello: Hello, run: Callable[[int, Path], None]) -> None:
        """Forks a process that calls ``run(file descriptor, folder)`` and then ends."""
        self.connection = connection
        self._kill_at = time.monotonic() + hello.timeout_s
        self._hello = hello
        self._expires_at = self._kill_at
        self._expired = False
        self._stopped_since: float | None = None
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        agent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become_session(agent, connection.fileno(), self._folder, run)

    @property
    def due_s(self) -> float:
        """Seconds until ``enforce`` has something to do."""
        return max(0.0, self._kill_at - time.monotonic())

    def hang_up(self) -> None:
        """The client is gone: the server loop ends by itself, unless a kernel keeps it busy."""
        self._kill_at = min(self._kill_at, time.monotonic() + _HANG_UP_GRACE_S)

    def enforce(self) -> None:
        """Kills the session when its time is over, or when somebody stopped it; to be called often."""
        if not is_stopped(self.pid):
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = time.monotonic()
        elif time.monotonic() - self._stopped_since >= _STOPPED_S:
            self.kill()
        if time.monotonic() >= self._kill_at:
            self._expired = time.monotonic() >= self._expires_at
            self.kill()

    def kill(self) -> None:
        """Ends the process and what it started."""
        for kill in (os.killpg, os.kill):  # It may not have become its group's leader yet.
            with contextlib.suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)

    def ended(self) -> bool:
        """Whether the process is gone; then nothing of the session is left but the open connection."""
        pid, _ = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return False
        self._clean_up()
        return True

    def close(self) -> None:
        """Kills the session and waits for its end."""
        self.kill()
        os.waitpid(self.pid, 0)
        self._clean_up()

    def _clean_up(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # What a kernel forked is in the same group.
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._expired:
            _tell_expired(self.connection, self._hello.timeout_s)
        self.connection.close()


def is_stopped(pid: int) -> bool:
    """Whether the process is in Linux's state T."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def sweep() -> None:
    """Removes the folders of agents that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        agent = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if agent.isdigit() and not Path("/proc", agent).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _become_session(agent: int, fd: int, folder: Path, run: Callable[[int, Path], None]) -> None:
    """The forked process's life; never returns."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != agent:
            return  # It died before the call above.
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(folder)
        run(fd, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _tell_expired(connection: socket.socket, timeout_s: float) -> None:
    """TVM's own clients turn this into an RPCSessionTimeoutError."""
    from tvm.error import InternalError
    from tvm.rpc._ffi_api import ReturnException

    connection.settimeout(_SEND_S)
    with contextlib.suppress(InternalError, OSError):  # The client may be gone as well.
        ReturnException(
            connection.fileno(), f"RPCSessionTimeoutError: the session's {timeout_s:g} s are over"
        )
