"""TVM's tracker protocol in plain sockets: a magic number, then JSON messages with their length in front.

The reference is ``tvm/rpc/tracker.py``. Importing tvm costs half a second, and its client has no time-outs.
"""

from __future__ import annotations

import json
import socket
import struct
from types import TracebackType
from typing import Any, Final

from tracker.access import COORDINATOR
from tracker.address import Address
from tracker.transport import admission, connect

TRACKER_MAGIC: Final = 0x2F271
RPC_MAGIC: Final = 0xFF271
RPC_MISMATCH: Final = RPC_MAGIC + 2

PUT: Final = 3
REQUEST: Final = 4
UPDATE_INFO: Final = 5
SUMMARY: Final = 6
PENDING_MATCHKEYS: Final = 7

SUCCESS: Final = 0
LARGEST_MESSAGE: Final = 1 << 20


class WireError(OSError):
    """The peer speaks something else."""


class ClosedError(WireError, ConnectionError):
    """The peer hung up."""


class TrackerConnection:
    """A connection to a TVM tracker; every call ends within the time-out, with an OSError when it fails."""

    def __init__(self, address: Address, timeout_s: float, ours: str = COORDINATOR) -> None:
        """``ours`` is whose credential is used where the tracker wants one."""
        self.address = address
        self._socket = connect(address, timeout_s, ours)
        try:
            with admission(address):
                self._socket.sendall(struct.pack("<i", TRACKER_MAGIC))
                magic = self._receive(4)
            if struct.unpack("<i", magic)[0] != TRACKER_MAGIC:
                raise WireError(f"{address} is not a TVM tracker")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> TrackerConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice."""
        self._socket.close()

    def call(self, *message: Any, timeout_s: float | None = None) -> Any:
        """Sends one message and returns the tracker's answer; ``timeout_s`` replaces the connection's."""
        if timeout_s is not None:
            self._socket.settimeout(timeout_s)
        payload = json.dumps(message).encode()
        self._socket.sendall(struct.pack("<i", len(payload)) + payload)
        (size,) = struct.unpack("<i", self._receive(4))
        if not 0 < size <= LARGEST_MESSAGE:
            raise WireError(f"{self.address} announces a message of {size} bytes")
        try:
            return json.loads(self._receive(size))
        except ValueError as error:
            raise WireError(f"{self.address} does not answer in JSON") from error

    def _receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            # The tracker sends length and text apart: without this its Nagle waits 40 ms for our delayed ACK.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            chunk = self._socket.recv(count - len(data))
            if not chunk:
                raise ClosedError(f"{self.address} closed the connection")
            data += chunk
        return bytes(data)
