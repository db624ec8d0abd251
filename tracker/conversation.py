"""Requests to a session's own process, each with a deadline, until one of them fails."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

from tracker import answers, plain
from tracker.errors import TrackerError
from tracker.failure import Failure, FailureKind, GarbledError, SessionFailed
from tracker.forked import session_processes
from tracker.liveness import Watchdog

_CLOSE_S: Final = 2.0
_TRANSFER_S: Final = 60
_QUIET_S: Final = 2.0
"""Without an answer, before the device is asked whether it is still there."""


T = TypeVar("T")


def nothing(value: Any) -> Any:
    """For requests that are done without an answer."""
    if value is not None:
        raise GarbledError("an answer to what was no question")
    return None


class Conversation:
    """A process that does one operation after the other, see ``tracker.session_child``.

    After a failure the process is killed, and every further request raises the same failure.
    """

    def __init__(self, device: str) -> None:
        """Starts the process; raises SessionFailed when that does not work."""
        self._device = device
        self._failure: Failure | None = None
        self._watchdog: Watchdog | None = None
        try:
            self._process, ours = session_processes.start()
        except TrackerError as error:
            raise SessionFailed(Failure("crash", str(error), device, "start")) from error
        # A stopped process must not hold up a transfer.
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _TRANSFER_S, 0))
        self._connection = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """Of the session's process on this machine."""
        return self._process.pid

    def watch(self, watchdog: Watchdog) -> None:
        """From now on a device that falls silent ends what is awaited from it, whatever its deadline."""
        self._watchdog = watchdog

    def ask(
        self, operation: str, *arguments: Any, deadline_s: float, check: Callable[[Any], T] = nothing
    ) -> T:
        """The answer to one request, as ``check`` takes it; raises SessionFailed."""
        self.send(operation, *arguments)
        return self.receive(operation, deadline_s, check)

    def send(self, operation: str, *arguments: Any) -> None:
        """One request; raises SessionFailed."""
        if self._failure is not None:
            raise SessionFailed(self._failure)
        try:
            self._connection.send((operation, arguments))
        except OSError as error:
            raise self.fail("crash", f"the session's process is gone: {error}", operation) from error

    def receive(self, operation: str, deadline_s: float, check: Callable[[Any], T] = nothing) -> T:
        """The next answer, as ``check`` takes it: it raises GarbledError for what cannot be an answer.

        Raises SessionFailed for that, when the answer is a failure, or when it does not come in time.
        """
        try:
            self._wait(operation, deadline_s)
            match plain.decode(self._connection.recv_bytes(plain.LARGEST_BYTES)):
                case ["failed", kind, message]:
                    raise self.fail(*answers.failure(kind, message), operation)
                case ["item" | "result", value]:
                    return check(value)
            raise GarbledError("an answer of no kind")
        except GarbledError as error:
            raise self.fail("garbled", str(error), operation) from error
        except (EOFError, OSError) as error:
            last_words = self._process.log_tail()
            raise self.fail("crash", f"the session's process ended: {last_words}", operation) from error

    def _wait(self, operation: str, deadline_s: float) -> None:
        """Until there is something to read; raises SessionFailed when that does not come."""
        until = time.monotonic() + deadline_s
        while not self._connection.poll(max(0.0, min(_QUIET_S, until - time.monotonic()))):
            if time.monotonic() >= until:
                raise self.fail("timeout", f"no answer within {deadline_s:g} s", operation)
            if self._watchdog is not None and self._watchdog.silent():
                message = f"nothing answers at {self._watchdog.device} any more"
                raise self.fail("unreachable", message, operation)

    def fail(self, kind: FailureKind, message: str, operation: str) -> SessionFailed:
        """Ends the process; the exception is for the caller to raise."""
        if self._failure is None:
            self._failure = Failure(kind, message, self._device, operation)
            if kind == "refused":
                self._take_leave()
            self._process.kill()
            self._connection.close()
        return SessionFailed(self._failure)

    def interrupt(self) -> None:
        """From any thread: what another one awaits fails at once."""
        self._process.interrupt()

    def close(self) -> None:
        """Frees the device; may be called twice."""
        if self._failure is None:
            self._take_leave()
            self.fail("skipped", "the session was closed before", "close")

    def _take_leave(self) -> None:
        """TVM's own server dies for good when a client vanishes at the wrong moment."""
        with contextlib.suppress(OSError):
            self._connection.send(("close", ()))
            self._connection.poll(_CLOSE_S)
