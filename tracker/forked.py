"""Processes for sessions, from the fork server: started in milliseconds, killed without fail."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import threading
from typing import Final

from tracker.child import ChildProcess, Log
from tracker.errors import TrackerError

_START_S: Final = 60.0
"""For the first process, which waits until the server has imported TVM."""
_FORK_S: Final = 10.0
_END_S: Final = 5.0
_ATTEMPTS: Final = 2
_ENVIRONMENT: Final = {"TVM_USE_RUNTIME_LIB": "1", "TVM_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_PID: Final = struct.Struct("<i")


class SessionProcess:
    """A process that answers requests, see ``tracker.session_child``; it cannot outlive this one."""

    def __init__(self, pid: int, process: int, lifeline: int, log: Log) -> None:
        """File descriptors of the process itself and of the lifeline's writing end become its own."""
        self.pid = pid
        self._process = process
        self._lifeline = lifeline
        self._log = log
        self._ended = False
        self._lock = threading.Lock()

    def log_tail(self) -> str:
        """The last lines that it wrote."""
        return self._log.tail()

    def interrupt(self) -> None:
        """Kills it from any thread, and leaves the rest to whoever talks with it."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if not self._ended:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def kill(self) -> None:
        """Kills it at once; may be called twice."""
        self.interrupt()
        with self._lock:
            if self._ended:
                return
            self._ended = True
        ended = select.poll()
        ended.register(self._process, select.POLLIN)
        ended.poll(1000 * _END_S)
        os.close(self._process)
        os.close(self._lifeline)
        self._log.close()


class SessionProcesses:
    """Starts them for this process, from any thread.

    The fork server comes with the first one. One that was killed or does not answer is replaced: sessions
    under way go on without it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def start(self) -> tuple[SessionProcess, socket.socket]:
        """A new process and the connection to it; raises TrackerError when no server comes up."""
        with self._lock:
            for _ in range(_ATTEMPTS):
                if self._server is None or self._server.owner != os.getpid():
                    self._server = _Server()
                try:
                    return self._server.fork()
                except BaseException as error:
                    # An answer that comes later would be taken for that to the next request.
                    last_words = self._server.end()
                    self._server = None
                    if not isinstance(error, OSError):
                        raise
        raise TrackerError(f"no process for a session could be started; the last words of one: {last_words}")


class _Server:
    """The fork server as its parent sees it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_START_S)
        with theirs:
            fd = theirs.fileno()
            self._child = ChildProcess("tracker.fork_server", ["--fd", str(fd)], [fd], _ENVIRONMENT)

    def fork(self) -> tuple[SessionProcess, socket.socket]:
        """Raises OSError when the server does not answer; then nothing is left of the attempt."""
        with contextlib.ExitStack() as attempt:
            ours, theirs = socket.socketpair()
            attempt.callback(ours.close)
            reading, writing = os.pipe()
            attempt.callback(os.close, writing)
            log = Log()
            attempt.callback(log.close)
            try:
                pid, process = self._ask([theirs.fileno(), reading, log.fileno()])
            finally:
                theirs.close()
                os.close(reading)
            attempt.pop_all()
            return SessionProcess(pid, process, writing, log), ours

    def end(self) -> str:
        """Kills it; what it wrote last."""
        last_words = self._child.log_tail()
        self._child.kill()
        self._control.close()
        return last_words

    def _ask(self, fds: list[int]) -> tuple[int, int]:
        cores = sorted(os.sched_getaffinity(0))  # Those of now: the server keeps those of its start.
        socket.send_fds(self._control, [json.dumps(cores).encode()], fds)
        answer, process, _, _ = socket.recv_fds(self._control, _PID.size, 1)
        if len(answer) != _PID.size:
            raise OSError("the fork server has ended")
        self._control.settimeout(_FORK_S)
        return _PID.unpack(answer)[0], process[0]


session_processes: Final = SessionProcesses()
