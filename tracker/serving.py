"""The agent's loop: one thread, one poll, no peer that can block another."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracker.gate import Admitted, notice_lost_peer
from tracker.handshake import Garbage, Hello, accepted, parse_hello
from tracker.registration import Lease
from tracker.served import ServedSession
from tracker.wire import RPC_MISMATCH

_TICK_S: Final = 0.25
_GREETING_S: Final = 5.0
_MOST_PEERS: Final = 64


@dataclass(slots=True)
class _Peer:
    """Somebody who connected and has not finished greeting."""

    connection: socket.socket
    give_up_at: float = field(default_factory=lambda: time.monotonic() + _GREETING_S)
    data: bytes = b""


class DeviceServer:
    """Serves one device until ``stop``: one session at a time, registered whenever it is free."""

    def __init__(
        self,
        listening: socket.socket | Admitted,
        key: str,
        lease: Lease,
        run: Callable[[int, Path], None],
        lifeline: int | None,
    ) -> None:
        self._listening = listening
        self._key = key
        self._lease = lease
        self._run = run
        self._peers: dict[int, _Peer] = {}
        self._session: ServedSession | None = None
        self._stopping = False
        self._poll = select.poll()
        self._wake, wake_up = socket.socketpair()
        for end in (self._wake, wake_up, listening):
            end.setblocking(False)
        self._wake_up = wake_up
        self._poll.register(listening, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._lifeline = lifeline
        if lifeline is not None:
            self._poll.register(lifeline, select.POLLIN | select.POLLHUP)

    def serve(self, on_registered: Callable[[], None]) -> None:
        """Runs until SIGTERM, SIGINT or the end of the lifeline; leaves no process and no folder behind."""
        self._listen_to_signals()
        announced = False
        try:
            while not self._stopping:
                self._lease.tick(free=self._session is None)
                if self._lease.registered and not announced:
                    on_registered()
                    announced = True
                self._step()
        finally:
            self._close()

    def _listen_to_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_up.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _step(self) -> None:
        for fd, _ in self._poll.poll(self._patience_s() * 1000):
            self._handle(fd)
        self._tend_session()
        self._drop_slow_peers()

    def _patience_s(self) -> float:
        return min(_TICK_S, self._session.due_s if self._session else _TICK_S)

    def _handle(self, fd: int) -> None:
        if fd == self._listening.fileno():
            self._accept()
        elif fd == self._wake.fileno():
            self._wake.recv(4096)
        elif fd == self._lifeline:
            self._stopping = True
        elif fd in self._peers:
            self._read(self._peers[fd])
        elif self._session and fd == self._session.connection.fileno():
            self._poll.unregister(fd)
            self._session.hang_up()

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return  # The peer has left again.
        if len(self._peers) >= _MOST_PEERS:
            connection.close()
            return
        connection.setblocking(False)
        self._peers[connection.fileno()] = _Peer(connection)
        self._poll.register(connection, select.POLLIN)

    def _read(self, peer: _Peer) -> None:
        try:
            chunk = peer.connection.recv(4096)
        except OSError:
            chunk = b""
        peer.data += chunk
        said = parse_hello(peer.data) if chunk else Garbage()
        if said is not None:
            self._forget(peer)
            self._answer(peer.connection, said)

    def _answer(self, connection: socket.socket, said: Hello | Garbage) -> None:
        if isinstance(said, Garbage):
            connection.close()
        elif self._session is None and self._lease.matchkey and said.matchkey == self._lease.matchkey:
            self._begin(connection, said)
        else:
            _send_quietly(connection, struct.pack("<i", RPC_MISMATCH))
            connection.close()

    def _begin(self, connection: socket.socket, hello: Hello) -> None:
        self._lease.withdraw()
        if connection.family != socket.AF_UNIX:  # One of those leads to a gate, which sees to it itself.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_lost_peer(connection)
        if not _send_quietly(connection, accepted(self._key)):
            connection.close()
            return
        connection.setblocking(True)
        self._session = ServedSession(connection, hello, self._run_session)
        self._poll.register(connection, select.POLLRDHUP)

    def _run_session(self, fd: int, folder: Path) -> None:
        """In the forked process: what belongs to the agent alone is closed first."""
        self._lease.close()
        self._listening.close()
        for peer in self._peers.values():
            peer.connection.close()
        self._run(fd, folder)

    def _tend_session(self) -> None:
        if self._session is None:
            return
        self._session.enforce()
        fd = self._session.connection.fileno()
        if self._session.ended():
            self._unwatch(fd)
            self._session = None

    def _drop_slow_peers(self) -> None:
        now = time.monotonic()
        for peer in [peer for peer in self._peers.values() if now > peer.give_up_at]:
            self._forget(peer)
            peer.connection.close()

    def _forget(self, peer: _Peer) -> None:
        fd = peer.connection.fileno()
        self._poll.unregister(fd)
        del self._peers[fd]

    def _unwatch(self, fd: int) -> None:
        with contextlib.suppress(KeyError):  # Its client may have hung up before.
            self._poll.unregister(fd)

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._lease.close()
        if self._session is not None:
            self._session.close()
        for peer in self._peers.values():
            peer.connection.close()
        for end in (self._wake, self._wake_up, self._listening):
            end.close()


def _send_quietly(connection: socket.socket, data: bytes) -> bool:
    """Whether all of the few bytes went out; a fresh connection's buffer always holds them."""
    try:
        return connection.send(data) == len(data)
    except OSError:
        return False
