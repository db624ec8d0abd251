"""The process in which a Session lives: takes requests until its parent leaves or kills it.

Requests are ``(operation, arguments)``; answers are ``("item", value)``, ``("result", value)`` and
``("failed", kind, message)``. The parent keeps the deadlines, so nothing here does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.address import Address
from tracker.clocked import PlainClocked
from tracker.failure import FailureKind, GarbledError
from tracker.footprint import measure_peak, run_within
from tracker.memory_limit import Footprint
from tracker.plain import encode
from tracker.remote import BusyError, RemoteDevice, connect
from tracker.remote_clocked import time_clocked
from tracker.remote_files import describe_device
from tracker.remote_network import RemoteNetwork, Shape, time_networks
from tracker.remote_timing import MissingFunctionError, time_function
from tracker.timing import Argument, TimingPolicy

Send = Callable[[Any], None]


class Operations:
    """What the parent may ask for; every public method is an operation."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._networks: dict[str, RemoteNetwork] = {}
        self._device: RemoteDevice

    def open(
        self, tracker: Address, key: str, deadline: float, session_timeout_s: float
    ) -> tuple[str, int] | None:
        """See ``Session.open``; ``deadline`` is a time of the monotonic clock, which all processes share.

        Returns where the device can be asked for a sign of life; None for a server that gives none when busy.
        """
        session, address = connect(tracker, key, deadline, session_timeout_s)
        self._device = RemoteDevice(session)
        return (address.host, address.port) if self._device.function("blinknet.describe") else None

    def describe(self) -> str:
        """The Description in JSON."""
        return describe_device(self._device)

    def time_functions(
        self, library: Path, requests: Sequence[tuple[str, list[Argument]]], policy: TimingPolicy
    ) -> None:
        """Sends an item for each request."""
        module = self._device.load(library)
        for symbol, arguments in requests:
            try:
                self._send(("item", time_function(self._device, module, symbol, arguments, policy)))
            except MissingFunctionError as error:
                self._send(("item", str(error)))

    def load_network(
        self,
        name: str,
        library: Path,
        parameters: Sequence[NDArray[Any]],
        inputs: Sequence[Shape],
        outputs: Sequence[Shape],
    ) -> None:
        """See ``Session.load_network``."""
        self._networks[name] = RemoteNetwork(self._device, library, parameters, inputs, outputs)

    def time_networks(self, names: Sequence[str], rounds: int, repeats: int) -> dict[str, tuple[float, ...]]:
        """See ``Session.time_networks``."""
        return time_networks({name: self._networks[name] for name in names}, rounds, repeats)

    def time_clocked(
        self, library: Path, networks: Sequence[PlainClocked], rounds: int, repeats: int
    ) -> list[list[list[float]]]:
        """See ``Session.time_clocked``."""
        return time_clocked(self._device, library, networks, rounds, repeats)

    def predict(self, name: str, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float32], ...]:
        """See ``Session.predict``."""
        return self._networks[name].predict(inputs)

    def measure_peak(
        self,
        library: Path,
        parameters: Sequence[NDArray[Any]],
        inputs: Sequence[Shape],
        outputs: Sequence[Shape],
    ) -> int:
        """See ``Session.measure_peak``."""
        return measure_peak(self._device, library, parameters, inputs, outputs)

    def run_within(
        self,
        library: Path,
        parameters: Sequence[NDArray[Any]],
        inputs: Sequence[Shape],
        outputs: Sequence[Shape],
        limit_bytes: int,
        runs: int,
    ) -> Footprint:
        """See ``Session.run_within``."""
        return run_within(self._device, library, parameters, inputs, outputs, limit_bytes, runs)

    def answered(self) -> bool:
        """Whether the device still answers: TVM has many errors for one that does not."""
        try:
            return self._device.session.get_function("tvm.rpc.server.upload") is not None
        except Exception:
            return False

    def close(self) -> None:
        """Lets go of everything on the device, which ends the session there."""
        self._networks.clear()
        del self._device


def serve(connection: Connection) -> None:
    """Answers requests until the parent asks to close or is gone."""

    def send(answer: Any) -> None:
        """In plain bytes: the parent unpickles nothing that a device may have had a hand in."""
        connection.send_bytes(encode(answer))

    operations = Operations(send)
    operation = ""
    while operation != "close":
        operation, arguments = connection.recv()
        send(_answer(operations, operation, arguments))


def _answer(operations: Operations, operation: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        return "result", getattr(operations, operation)(*arguments)
    except Exception as error:
        return "failed", _kind(error, operations, operation), f"{type(error).__name__}: {error}"


def _kind(error: Exception, operations: Operations, operation: str) -> FailureKind:
    if isinstance(error, BusyError):
        return "busy"
    if isinstance(error, GarbledError):
        return "garbled"
    if operation == "open":
        return "unreachable"
    if "RPCSessionTimeoutError" in str(error):
        return "timeout"
    return "refused" if operations.answered() else "crash"
