"""TVM's RPC client: opens one device and keeps what was loaded on it. Runs in the session's child."""

from __future__ import annotations

import itertools
import time
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import tvm.runtime
from tvm import rpc

from tracker.address import Address
from tracker.failure import GarbledError
from tracker.tensors import Tensors
from tracker.transport import NotAdmittedError
from tracker.tunnel import open_tunnel
from tracker.wire import REQUEST, SUCCESS, TrackerConnection, WireError

_RETRY_S: Final = 0.2


class BusyError(Exception):
    """The device was in use until the deadline."""


def connect(tracker: Address, key: str, deadline: float, session_timeout_s: float) -> tuple[Any, Address]:
    """An RPC session with the device, by ``deadline`` on the monotonic clock, and where the device is.

    Raises BusyError, or OSError when the tracker or the device cannot be reached.
    """
    while True:
        device, matchkey = _request(tracker, key, deadline)
        try:
            return _connect(device, matchkey, _left(deadline), session_timeout_s), device
        except NotAdmittedError:
            raise
        except (OSError, tvm.error.InternalError, tvm.error.RPCError, RuntimeError) as error:
            # The tracker may still hold the offer of a server that has just died or restarted.
            if time.monotonic() + _RETRY_S > deadline:
                raise WireError(f"the device at {device} does not take the session: {error}") from error
            time.sleep(_RETRY_S)


def _connect(device: Address, matchkey: str, timeout_s: float, session_timeout_s: float) -> Any:
    if device.tls:
        device = open_tunnel(device, matchkey, timeout_s, session_timeout_s)
    return rpc.connect(device.host, device.port, matchkey, session_timeout_s)


def _left(deadline: float) -> float:
    return max(0.1, deadline - time.monotonic())


def _request(tracker: Address, key: str, deadline: float) -> tuple[Address, str]:
    with TrackerConnection(tracker, _left(deadline)) as connection:
        try:
            status, offer = connection.call(REQUEST, key, "", 1, timeout_s=_left(deadline))
        except TimeoutError as error:
            raise BusyError from error
    if status != SUCCESS:
        raise WireError(f"the tracker at {tracker} answers a request with status {status}")
    host, port, matchkey = offer
    return tracker.beside(str(host), int(port), key), str(matchkey)


class RemoteDevice:
    """What a session does on its device, without any deadline: the parent process keeps those."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.cpu = session.cpu(0)
        self._names = itertools.count()
        self._modules: dict[tuple[Path, int, int], Any] = {}
        self._functions: dict[str, Any | None] = {}
        self.tensors = Tensors(self.cpu, self.function)
        self.library_names: list[str] = []
        """The names under which libraries were uploaded."""

    def function(self, name: str) -> Any | None:
        """A global function of the server, or None; asked for once."""
        if name not in self._functions:
            try:
                self._functions[name] = self.session.get_function(name)
            except AttributeError:
                self._functions[name] = None
        return self._functions[name]

    def load(self, library: Path) -> Any:
        """The library as a remote module; uploaded once: a name that comes twice crashes TVM's server."""
        status = library.stat()
        identity = (library.resolve(), status.st_mtime_ns, status.st_size)
        if identity not in self._modules:
            name = self.fresh_name(library.name)
            self._modules[identity] = self.load_as(name, library.read_bytes())
            self.library_names.append(name)
        return self._modules[identity]

    def fresh_name(self, name: str) -> str:
        """A file name that was never used in this session."""
        return f"{next(self._names)}-{name}"

    def load_as(self, name: str, content: bytes) -> Any:
        """Uploads ``content`` as a file and loads it."""
        self.upload(name, content)
        return self.session.load_module(name)

    def upload(self, name: str, content: bytes) -> None:
        """Writes a file on the device; raises GarbledError unless it arrived whole.

        A server without our functions sends the file back.
        """
        self.session.upload(bytearray(content), name)
        if checksum := self.function("blinknet.checksum"):
            arrived = checksum(name) == f"{zlib.crc32(content):08x}"
        else:
            arrived = self.session.download(name) == content
        if not arrived:
            raise GarbledError(
                f"{name} arrived damaged: a full disk on the device, or a bad connection? `df` there tells"
            )

    def tensor(self, values: np.ndarray[Any, Any]) -> Any:
        """A copy of ``values`` on the device."""
        return tvm.runtime.tensor(np.ascontiguousarray(values), self.cpu)
