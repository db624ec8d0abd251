"""What a peer says first on a TVM RPC server's port. Pure: bytes in, a verdict out.

The reference is ``_accept_conn`` in ``tvm/rpc/server.py``: a magic number, a length, then
``client:MATCHKEY [-timeout=SECONDS]``.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

from tracker.wire import RPC_MAGIC

LONGEST_HELLO: Final = 1024
_HEADER: Final = struct.Struct("<ii")


@dataclass(frozen=True, slots=True)
class Hello:
    """A complete greeting."""

    matchkey: str
    timeout_s: float
    """After which the session ends; infinite when the client names none."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """The peer is no TVM client."""


def parse_hello(data: bytes) -> Hello | Garbage | None:
    """The greeting that ``data`` begins with; None while it is incomplete."""
    if not struct.pack("<i", RPC_MAGIC).startswith(data[:4]):
        return Garbage()
    if len(data) < _HEADER.size:
        return None
    _, length = _HEADER.unpack_from(data)
    if not 0 < length <= LONGEST_HELLO:
        return Garbage()
    if len(data) < _HEADER.size + length:
        return None
    return _parse_text(data[_HEADER.size : _HEADER.size + length])


def _parse_text(data: bytes) -> Hello | Garbage:
    try:
        greeting, *options = data.decode().split()
        role, _, matchkey = greeting.partition(":")
        seconds = [
            float(option.removeprefix("-timeout=")) for option in options if option.startswith("-timeout=")
        ]
    except ValueError:
        return Garbage()
    return Hello(matchkey, seconds[-1] if seconds else math.inf) if role == "client" else Garbage()


def greeting(matchkey: str, timeout_s: float) -> bytes:
    """What a client says first, who wants a session of at most ``timeout_s``."""
    text = f"client:{matchkey} -timeout={timeout_s}".encode()
    return _HEADER.pack(RPC_MAGIC, len(text)) + text


def accepted(key: str) -> bytes:
    """The server's answer to a client that may have the session."""
    name = f"server:{key}".encode()
    return _HEADER.pack(RPC_MAGIC, len(name)) + name
