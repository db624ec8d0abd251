"""The gate of a tracker or a device: ends mutual TLS on a public address and carries TVM's protocol inside.

A process of its own, so that neither TLS nor a slow peer disturbs the server behind it. That server listens
nowhere: the gate hands it one end of a socket pair for each peer that it lets in.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
import ssl
import struct
import sys
from asyncio.trsock import TransportSocket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tracker.access import COORDINATOR, TRACKER, Access
from tracker.admission import RefusedError, admitted
from tracker.child import ChildProcess, end_with_parent
from tracker.credential import Credential, holder_of, reason
from tracker.errors import TrackerError
from tracker.wire import LARGEST_MESSAGE, TRACKER_MAGIC

_HANDSHAKE_S: Final = 5.0
_SHUTDOWN_S: Final = 2.0
_CHUNK_BYTES: Final = 1 << 18
_MOST_COMPLAINTS: Final = 1000

Carry = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Admitted:
    """What the server behind a gate has in place of a listening socket: peers that the gate let in."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next peer, like a listening socket; raises SystemExit when the gate has ended."""
        data, fds, _, _ = socket.recv_fds(self._control, 1, 1)
        if not data:
            raise SystemExit("the gate has ended, nobody can come in any more; start this server again")
        return socket.socket(fileno=fds[0]), ("gate", 0)

    def fileno(self) -> int:
        """To be polled."""
        return self._control.fileno()

    def setblocking(self, flag: bool) -> None:
        """As for sockets."""
        self._control.setblocking(flag)

    def close(self) -> None:
        """As for sockets."""
        self._control.close()


@contextlib.contextmanager
def entrance(
    listening: socket.socket, access: Access, holder: str, cores: Iterable[int] = ()
) -> Iterator[socket.socket | Admitted]:
    """What the server of ``holder`` accepts its peers from; behind a gate, on ``cores``, where it speaks TLS.

    Raises TrackerError for a public address without a credential, and for one of somebody else.
    """
    host = listening.getsockname()[0]
    access.check_listening(host)
    if access.credential is None or not access.speaks_tls(host):
        yield listening
        return
    gate, admitted = _start(listening, Credential.open(access.credential).of(holder), cores)
    try:
        yield admitted
    finally:
        gate.stop()


def _start(
    listening: socket.socket, credential: Credential, cores: Iterable[int]
) -> tuple[ChildProcess, Admitted]:
    """The process takes ``listening`` over, and ends with this one."""
    ours, theirs = socket.socketpair()
    with listening, theirs:
        fds = [listening.fileno(), theirs.fileno()]
        arguments = ["--listening", str(fds[0]), "--control", str(fds[1])]
        arguments += ["--credential", str(credential.folder), "--cores", ",".join(map(str, cores))]
        return ChildProcess("tracker.gate", arguments, fds, inherit_output=True), Admitted(ours)


class Gate:
    """Lets peers in that prove who they are, as far as its own holder goes."""

    def __init__(self, credential: Credential, control: socket.socket) -> None:
        self._credential = credential
        self._control = control
        self._complaints: set[tuple[str, str]] = set()

    async def serve(self, listening: socket.socket) -> None:
        """Until the process ends."""
        asyncio.get_running_loop().set_exception_handler(self._handshake_failed)
        context = self._credential.server_context()
        context.sni_callback = self._renew
        server = await asyncio.start_server(
            self._let_in,
            sock=listening,
            ssl=context,
            limit=_CHUNK_BYTES,
            ssl_handshake_timeout=_HANDSHAKE_S,
            ssl_shutdown_timeout=_SHUTDOWN_S,
        )
        await server.serve_forever()

    def _renew(self, connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        """Renewed certificates and new revocations count from the next handshake on."""
        with contextlib.suppress(TrackerError):  # The files are being replaced.
            connection.context = self._credential.server_context()

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = writer.get_extra_info("peername")[0]
        try:
            notice_lost_peer(writer.get_extra_info("socket"))
            holder = holder_of(writer.get_extra_info("ssl_object"))
            carry = self._carrier(holder, host)
            inside, outside = await self._hand_over()
        except (OSError, RefusedError) as error:
            self._complain(host, str(error))
            writer.close()
            return
        try:
            await _first(carry(reader, outside), _copy(inside, writer))
        except RefusedError as error:
            self._complain(f"{host} ({holder})", str(error))
        finally:
            for each in (outside, writer):
                each.close()

    def _carrier(self, holder: str, host: str) -> Carry:
        """How the peer's words are carried inside; raises RefusedError for one that has no business here."""
        if self._credential.holder == TRACKER:
            return lambda reader, writer: _copy_admitted(reader, writer, holder, host)
        if holder != COORDINATOR:
            raise RefusedError(f"{holder} is no coordinator, and only those open sessions")
        return _copy

    async def _hand_over(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [b"+"], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return await asyncio.open_unix_connection(sock=ours, limit=_CHUNK_BYTES)

    def _handshake_failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, transport = context.get("exception"), context.get("transport")
        peer = transport.get_extra_info("peername") if transport else None
        text = reason(error) if isinstance(error, OSError) else repr(error)
        self._complain(peer[0] if peer else "a peer", text)

    def _complain(self, who: str, text: str) -> None:
        """Once for each peer and reason: a port scanner shall not fill the log."""
        if (who, text) in self._complaints or len(self._complaints) >= _MOST_COMPLAINTS:
            return
        self._complaints.add((who, text))
        print(f"the gate of {self._credential.holder} refuses {who}: {text}", file=sys.stderr, flush=True)


def notice_lost_peer(connection: socket.socket | TransportSocket) -> None:
    """Ends a connection whose other side is cut off within ten seconds or so, not Linux's two hours."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)


async def _first(*carriers: Awaitable[None]) -> None:
    """Until one direction ends: TVM's protocol knows no half-closed connection."""
    tasks = [asyncio.ensure_future(each) for each in carriers]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    for task in done:
        with contextlib.suppress(OSError, EOFError):
            task.result()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()


async def _copy_admitted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, holder: str, host: str
) -> None:
    """The tracker's protocol, message by message."""
    magic = await reader.readexactly(4)
    if magic != struct.pack("<i", TRACKER_MAGIC):
        raise RefusedError("that is no TVM tracker's client")
    writer.write(magic)
    while True:
        payload = json.dumps(admitted(holder, host, await _message(reader))).encode()
        writer.write(struct.pack("<i", len(payload)) + payload)
        await writer.drain()


async def _message(reader: asyncio.StreamReader) -> Any:
    (size,) = struct.unpack("<i", await reader.readexactly(4))
    if not 0 < size <= LARGEST_MESSAGE:
        raise RefusedError(f"a message of {size} bytes")
    try:
        return json.loads(await reader.readexactly(size))
    except ValueError as error:
        raise RefusedError("that is no JSON") from error


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tracker.gate")
    parser.add_argument("--listening", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--credential", type=Path, required=True)
    parser.add_argument("--cores", default="")
    parser.add_argument("--lifeline", type=int, required=True)
    arguments = parser.parse_args()
    end_with_parent(arguments.lifeline)
    if arguments.cores:
        os.sched_setaffinity(0, [int(core) for core in arguments.cores.split(",")])
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # Two for each peer.
    control = socket.socket(fileno=arguments.control)
    control.setblocking(False)
    gate = Gate(Credential.open(arguments.credential), control)
    asyncio.run(gate.serve(socket.socket(fileno=arguments.listening)))


if __name__ == "__main__":
    _main()
