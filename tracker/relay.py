"""Carries bytes between a TLS connection and a plain one, and looks at what a device answers.

It sleeps while neither side speaks: nothing of it runs while a device times a kernel.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Final

_CHUNK_BYTES: Final = 1 << 18
_HEADER: Final = struct.Struct("<qi")
_ANSWERS: Final = {4: "kReturn", 5: "kException", 8: "kCopyAck"}
"""Of TVM's RPCCode (``minrpc/rpc_reference.h``): all that a server has to say to its client."""
LARGEST_PACKET: Final = 1 << 30


class UnexpectedPacketError(OSError):
    """A device said what no server says."""


class AnswersOnly:
    """Follows the packets from a device to TVM's client, which would obey it like a server.

    TVM's protocol is symmetric: a client that is told to initialise itself and to call functions does so. A
    packet is its size, its code, and the rest; ``check`` is given the bytes in order.
    """

    def __init__(self) -> None:
        self._header = b""
        self._left = 0

    def check(self, data: memoryview) -> None:
        """Raises UnexpectedPacketError for a packet that is no answer, or too large."""
        while len(data):
            if self._left:
                passed = min(self._left, len(data))
                self._left -= passed
            else:
                passed = min(_HEADER.size - len(self._header), len(data))
                self._header += bytes(data[:passed])
                self._begin_packet()
            data = data[passed:]

    def _begin_packet(self) -> None:
        if len(self._header) < _HEADER.size:
            return
        size, code = _HEADER.unpack(self._header)
        if code not in _ANSWERS or not 4 <= size <= LARGEST_PACKET:
            raise UnexpectedPacketError(f"the device sends a packet of {size} bytes with code {code}")
        self._header, self._left = b"", size - 4


class _Flow:
    """One direction, with what was read and not yet sent."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, check: Callable[[memoryview], None] | None = None
    ) -> None:
        self.source = source
        self.sink = sink
        self._check = check
        self.waiting = memoryview(b"")

    def pump(self) -> bool:
        """Moves what can be moved now; whether anything was. Raises EOFError at the end."""
        try:
            if not self.waiting:
                self._read()
            sent = self.sink.send(self.waiting)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        self.waiting = self.waiting[sent:]
        return True

    def _read(self) -> None:
        chunk = memoryview(self.source.recv(_CHUNK_BYTES))
        if not chunk:
            raise EOFError
        if self._check:
            self._check(chunk)
        self.waiting = chunk


def relay(secured: ssl.SSLSocket, plain: socket.socket) -> None:
    """Until either side ends, or the device, behind ``secured``, does not just answer (an OSError)."""
    flows = (_Flow(plain, secured), _Flow(secured, plain, AnswersOnly().check))
    for each in (secured, plain):
        each.setblocking(False)
    while True:
        try:
            moved = [flow.pump() for flow in flows]
        except EOFError:
            return
        if not any(moved):
            _wait(flows)


def _wait(flows: tuple[_Flow, ...]) -> None:
    poll = select.poll()
    interest: dict[int, int] = {}
    for flow in flows:
        end, event = (flow.sink, select.POLLOUT) if flow.waiting else (flow.source, select.POLLIN)
        interest[end.fileno()] = interest.get(end.fileno(), 0) | event
    for fd, events in interest.items():
        poll.register(fd, events)
    poll.poll()
