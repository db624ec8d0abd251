"""The client's side of a gate: a loopback port for one TVM client, carried to a device through TLS.

TVM's client takes a host and a port only, and may hold Python's lock while it waits for an answer: so the
bytes are carried by a process of their own. It ends with the session, or with the process that opened it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import ssl
import struct
import sys
import time
from typing import Final, cast

from tracker.address import Address
from tracker.handshake import Garbage, Hello, accepted, greeting, parse_hello
from tracker.relay import relay
from tracker.transport import admission, connect
from tracker.wire import RPC_MAGIC, ClosedError, WireError

_PR_SET_PDEATHSIG: Final = 1
_LOCAL_S: Final = 5.0
_LONGEST_NAME: Final = 1024


def open_tunnel(device: Address, matchkey: str, timeout_s: float, session_timeout_s: float) -> Address:
    """Greets the device behind its gate; the loopback address where TVM's client finds it.

    Only a client that comes with the same match key is let through. Raises OSError, see ``connect``.
    """
    secured = cast("ssl.SSLSocket", connect(device, timeout_s))
    with secured, socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        _greet(secured, device, greeting(matchkey, session_timeout_s))
        client = os.getpid()
        if os.fork() == 0:
            _become_tunnel(client, secured, listening, matchkey, device.holder)
        return Address("127.0.0.1", listening.getsockname()[1])


def _greet(secured: ssl.SSLSocket, device: Address, hello: bytes) -> None:
    with admission(device):
        secured.sendall(hello)
        (magic,) = struct.unpack("<i", _receive(secured, 4, device))
    if magic != RPC_MAGIC:
        raise WireError(f"{device} does not take the session (it answers {magic:#x})")
    (length,) = struct.unpack("<i", _receive(secured, 4, device))
    if not 0 <= length <= _LONGEST_NAME:
        raise WireError(f"{device} announces a name of {length} bytes")
    _receive(secured, length, device)


def _receive(secured: ssl.SSLSocket, count: int, device: Address) -> bytes:
    data = b""
    while len(data) < count:
        chunk = secured.recv(count - len(data))
        if not chunk:
            raise ClosedError(f"{device} closed the connection")
        data += chunk
    return data


def _become_tunnel(
    client: int, secured: ssl.SSLSocket, listening: socket.socket, matchkey: str, key: str
) -> None:
    """The forked process's life; never returns."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == client:
            plain = _accept(listening, matchkey)
            plain.sendall(accepted(key))
            secured.settimeout(None)
            relay(secured, plain)
            _say_goodbye(secured)
    except Exception as error:
        print(f"the tunnel to {key} ends: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)


def _accept(listening: socket.socket, matchkey: str) -> socket.socket:
    """The first client that knows the match key; raises TimeoutError when none comes."""
    until = time.monotonic() + _LOCAL_S
    while True:
        listening.settimeout(max(0.01, until - time.monotonic()))
        client, _ = listening.accept()
        client.settimeout(max(0.01, until - time.monotonic()))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            if _hello(client).matchkey == matchkey:
                listening.close()
                return client
        client.close()


def _hello(client: socket.socket) -> Hello:
    data = b""
    while True:
        chunk = client.recv(1024)
        data += chunk
        said = parse_hello(data) if chunk else Garbage()
        if isinstance(said, Garbage):
            raise WireError("somebody else came")
        if said is not None:
            return said


def _say_goodbye(secured: ssl.SSLSocket) -> None:
    """TLS's own end of a connection; the device may be gone already."""
    secured.settimeout(_LOCAL_S)
    with contextlib.suppress(OSError):
        secured.unwrap()
