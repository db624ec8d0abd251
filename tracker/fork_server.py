"""A process that has imported TVM's runtime once and forks a session's process in milliseconds.

It has one thread and no TVM session, so that a fork copies nothing half done. It ends with its parent. The
forked processes are their parent's as much as its own: each has a lifeline to it, and outlives this server.

Python's ``multiprocessing`` has such a server; it imports the caller's main module into every process, waits
for ever where the server is stopped, and keeps no output.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Final, Never

from tracker import session_child
from tracker.child import end_with_parent

_LARGEST_REQUEST: Final = 1 << 16


class ForkServer:
    """Forks on request until the parent is gone.

    A request is the list of cores to run on, in JSON, with three file descriptors: connection, lifeline, log.
    The answer is the process id with the process's own file descriptor, which no other process ever gets.
    """

    def __init__(self, control: socket.socket, lifeline: int) -> None:
        self._control = control
        self._lifeline = lifeline
        self._wake, self._wake_up = socket.socketpair()
        self._wake_up.setblocking(False)

    def serve(self) -> None:
        """Until the lifeline or the control connection closes."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_up.fileno(), warn_on_full_buffer=False)
        watched = select.poll()
        for each in (self._control, self._wake, self._lifeline):
            watched.register(each, select.POLLIN)
        there = True
        while there:
            ready = {fd for fd, _ in watched.poll()}
            if self._wake.fileno() in ready:
                self._wake.recv(4096)
                _reap()
            there = self._lifeline not in ready
            if there and self._control.fileno() in ready:
                there = self._answer()

    def _answer(self) -> bool:
        """Forks; whether there was somebody to ask for it."""
        request, fds, _, _ = socket.recv_fds(self._control, _LARGEST_REQUEST, 3)
        if not request:
            return False
        pid = os.fork()
        if pid == 0:
            self._become_session(json.loads(request), *fds)
        process = os.pidfd_open(pid)
        with contextlib.suppress(OSError):  # The parent may have given up.
            socket.send_fds(self._control, [struct.pack("<i", pid)], [process])
        for fd in (process, *fds):
            os.close(fd)
        return True

    def _become_session(self, cores: list[int], connection: int, lifeline: int, log: int) -> Never:
        """The forked process's life."""
        try:
            os.setsid()
            for output in (sys.stdout, sys.stderr):
                os.dup2(log, output.fileno())
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (self._control, self._wake, self._wake_up):
                each.close()
            os.sched_setaffinity(0, cores)
            end_with_parent(lifeline)
            with contextlib.suppress(EOFError):
                session_child.serve(Connection(connection))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)  # TVM's destructors may wait for a device that does not answer.


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """``--fd`` is the connection to the parent, see ChildProcess for ``--lifeline``."""
    parser = argparse.ArgumentParser(prog="python -m tracker.fork_server")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    arguments = parser.parse_args()
    gc.freeze()  # What is there now is never garbage: a collection would only copy shared pages.
    ForkServer(socket.socket(fileno=arguments.fd), arguments.lifeline).serve()


if __name__ == "__main__":
    main()
