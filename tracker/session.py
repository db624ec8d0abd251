"""A session: exclusive use of one device for a while.

TVM's client blocks for ever in more than one case, and a blocked thread cannot be killed. So a session lives in
a process of its own, which can; every call has a deadline.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.address import Address
from tracker.child import ChildProcess
from tracker.device import Description, DeviceKey
from tracker.errors import TrackerError
from tracker.failure import Failure, FailureKind, SessionFailed
from tracker.inventory import registered
from tracker.timing import Argument, Timing, TimingPolicy, TimingRequest

_START_S: Final = 20.0
_CLOSE_S: Final = 2.0
_ENVIRONMENT: Final = {"TVM_USE_RUNTIME_LIB": "1", "TVM_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Session:
    """A device that is ours until ``close``; a context manager.

    Laws: not for two threads at once. After any SessionFailed the session is over: its process is killed, the
    device is free for others, and every further call raises the same failure.
    """

    def __init__(self, key: DeviceKey) -> None:
        """For ``open`` only."""
        self.key = key
        self._failure: Failure | None = None
        self._used = False
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            self._child = ChildProcess("tracker.session_child", ["--fd", str(fd)], [fd], _ENVIRONMENT)
        self._connection = Connection(ours.detach())

    @classmethod
    def open(
        cls, address: Address, key: DeviceKey, deadline_s: float = 20.0, session_timeout_s: float = 600.0
    ) -> Session:
        """Asks the tracker at ``address`` for the device and waits for it while others use it.

        The device ends the session after ``session_timeout_s``. Raises SessionFailed: ``unreachable`` at once
        when no such device is registered, ``busy`` when it is not free within ``deadline_s``.
        """
        _check_registered(address, key)
        session = cls(key)
        deadline = time.monotonic() + deadline_s
        session._ask("open", address, str(key), deadline, session_timeout_s, deadline_s=deadline_s + _START_S)
        return session

    def describe(self, deadline_s: float = 20.0) -> Description:
        """What the device says about itself."""
        text = self._ask("describe", deadline_s=deadline_s)
        try:
            return Description.from_json(text)
        except TrackerError as error:
            raise self._fail("refused", str(error), "describe") from error

    def stream_timings(
        self, library: Path, requests: Sequence[TimingRequest], policy: TimingPolicy | None = None
    ) -> Iterator[Timing | Failure]:
        """Yields one result for each request, in order and as soon as it is known; never raises SessionFailed.

        The library is uploaded once a session. A function that the library lacks is ``refused`` and the next one
        is timed; any other failure ends the session, and the requests after it are ``skipped``.
        """
        policy = policy or TimingPolicy()
        plain = [
            (each.symbol, [Argument(a.shape, a.dtype, a.fill) for a in each.arguments]) for each in requests
        ]
        done = 0
        try:
            self._send("time_functions", _existing(library), plain, policy)
            for request in requests:
                yield self._timing(request.symbol, policy.deadline_s)
                done += 1
            self._receive("time_functions", policy.deadline_s)
        except SessionFailed as failed:
            yield failed.failure
            for request in requests[done + 1 :]:
                message = f"{failed.failure.operation} ended the session"
                yield Failure("skipped", message, str(self.key), f"time {request.symbol}")

    def time_functions(
        self, library: Path, requests: Sequence[TimingRequest], policy: TimingPolicy | None = None
    ) -> list[Timing | Failure]:
        """All of ``stream_timings``: as many results as requests."""
        return list(self.stream_timings(library, requests, policy))

    def load_network(
        self,
        name: str,
        library: Path,
        parameters: Sequence[NDArray[Any]],
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        deadline_s: float = 60.0,
    ) -> None:
        """Loads a relax library under ``name`` and sends its parameters to the device.

        Its ``main(x, *parameters)`` takes ``(1, *input_shape)`` and returns ``(1, *output_shape)``, both float32.
        """
        arguments = (name, _existing(library), list(parameters), tuple(input_shape), tuple(output_shape))
        self._ask("load_network", *arguments, deadline_s=deadline_s)

    def time_networks(
        self, names: Sequence[str], rounds: int, repeats: int, deadline_s: float = 120.0
    ) -> dict[str, tuple[float, ...]]:
        """Raw seconds of ``rounds * repeats`` single inferences of each loaded network, after warming up.

        The networks take turns, ``repeats`` inferences at a time.
        """
        seconds: dict[str, tuple[float, ...]] = self._ask(
            "time_networks", list(names), rounds, repeats, deadline_s=deadline_s
        )
        return seconds

    def predict(self, name: str, inputs: NDArray[Any], deadline_s: float = 120.0) -> NDArray[np.float32]:
        """Outputs ``(n, *output_shape)`` of a loaded network for ``inputs`` ``(n, *input_shape)``."""
        outputs: NDArray[np.float32] = self._ask("predict", name, inputs, deadline_s=deadline_s)
        return outputs

    def measure_peak(
        self,
        library: Path,
        parameters: Sequence[NDArray[Any]],
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        deadline_s: float = 60.0,
    ) -> int:
        """Bytes that loading and running the network adds to the device's process; see ``tracker.footprint``.

        Raises TrackerError unless it is the first thing that this session does.
        """
        if self._used:
            raise TrackerError("measure_peak needs a fresh session; open another one with Session.open")
        arguments = (_existing(library), list(parameters), tuple(input_shape), tuple(output_shape))
        peak: int = self._ask("measure_peak", *arguments, deadline_s=deadline_s)
        return peak

    def close(self) -> None:
        """Frees the device; may be called twice."""
        if self._failure is None:
            with contextlib.suppress(SessionFailed):
                self._ask("close", deadline_s=_CLOSE_S)
            self._end(Failure("skipped", "the session was closed", str(self.key), "close"))

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _timing(self, symbol: str, deadline_s: float) -> Timing | Failure:
        operation = f"time {symbol}"
        item = self._receive(operation, deadline_s)
        return item if isinstance(item, Timing) else Failure("refused", item, str(self.key), operation)

    def _ask(self, operation: str, *arguments: Any, deadline_s: float) -> Any:
        self._send(operation, *arguments)
        return self._receive(operation, deadline_s)

    def _send(self, operation: str, *arguments: Any) -> None:
        if self._failure is not None:
            raise SessionFailed(self._failure)
        self._used = self._used or operation not in ("open", "describe")
        try:
            self._connection.send((operation, arguments))
        except OSError as error:
            raise self._fail("crash", f"the session's process is gone: {error}", operation) from error

    def _receive(self, operation: str, deadline_s: float) -> Any:
        try:
            if not self._connection.poll(deadline_s):
                raise self._fail("timeout", f"no answer within {deadline_s:g} s", operation)
            kind, *value = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._fail(
                "crash", f"the session's process ended: {self._child.log_tail()}", operation
            ) from error
        if kind == "failed":
            raise self._fail(value[0], value[1], operation)
        return value[0]

    def _fail(self, kind: FailureKind, message: str, operation: str) -> SessionFailed:
        self._end(Failure(kind, message, str(self.key), operation))
        assert self._failure is not None
        return SessionFailed(self._failure)

    def _end(self, failure: Failure) -> None:
        if self._failure is None:
            self._failure = failure
            self._child.kill()
            self._connection.close()


def _check_registered(address: Address, key: DeviceKey) -> None:
    try:
        known = [each.key for each in registered(address)]
    except TrackerError as error:
        raise SessionFailed(Failure("unreachable", str(error), str(key), "open")) from error
    if str(key) not in known:
        message = f"not registered with the tracker at {address}, which has {known or 'no device'}; "
        message += f"`blinknet device --tracker {address} --key {key}` registers it"
        raise SessionFailed(Failure("unreachable", message, str(key), "open"))


def _existing(library: Path) -> Path:
    if not library.is_file():
        raise TrackerError(f"there is no library {library}; build it first")
    return library.resolve()
