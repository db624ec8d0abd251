"""A device that works as it should but for one thing: ``python -m tests.tracker.hostile HOW --tracker ...``.

Its process is real, its server TVM's own; what it does wrong is done where a bad device would do it.
"""

import json
import math
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tracker.agent
import tracker.session_functions
from tracker.levels import Level


def _override(name: str, function: Callable[..., Any]) -> None:
    from tvm_ffi import register_global_func

    register_global_func(name, function, override=True)


def _times(*seconds: float, count: int = 2) -> Callable[[], None]:
    """Answers with so many of these, whatever it is asked for."""
    values = list(seconds) * count
    blob = struct.pack(f"@{len(values)}d", *values)

    def override() -> None:
        _override("runtime.RPCTimeEvaluator", lambda *_: lambda *_arguments: blob)
        _override("blinknet.time_function", lambda *_: json.dumps([1000, values]))

    return override


def _truncates() -> None:
    def upload(name: str, content: bytes) -> None:
        Path(name).write_bytes(bytes(content)[: len(content) // 2])

    _override("tvm.rpc.server.upload", upload)


def _says(name: str, value: Any) -> Callable[[], None]:
    return lambda: _override(f"blinknet.{name}", lambda *_: value)


HOW: dict[str, Callable[[], None]] = {
    "truncates uploads": _truncates,
    "times are NaN": _times(math.nan),
    "times are negative": _times(-1e-3),
    "times are zero": _times(0.0),
    "times are infinite": _times(math.inf),
    "times are too few": _times(1e-3, count=0),
    "times are too many": _times(1e-3, count=100_000),
    "describes itself at length": _says("describe", "[" * (64 << 20)),
    "describes itself in numbers": _says("describe", 7),
    "describes an infinite clock": _says("describe", '{"clock_hz": Infinity}'),
    "has no memory to speak of": _says("read_text", "x-y rw-p 0 0 0 \nRss: many kB\nAnonymous: none kB\n"),
    "has less than no memory": _says("read_text", ""),
}


def _sends(data: bytes) -> Callable[[int], None]:
    """Answers the client's first request with this, and tells whether the client did as it was told."""

    def answer(fd: int) -> None:
        with socket.socket(fileno=fd) as connection:
            connection.recv(1 << 16)
            connection.sendall(data)
            if connection.recv(1 << 16):
                print("obeyed", flush=True)

    return answer


def _packet(code: int, content: bytes) -> bytes:
    return struct.pack("<qi", 4 + len(content), code) + content


RAW: dict[str, Callable[[int], None]] = {
    # kInitServer of protocol 0.8.0 without arguments: makes TVM's client a server.
    "gives orders": _sends(_packet(2, struct.pack("<q", 5) + b"0.8.0" + struct.pack("<i", 0))),
    "answers without end": _sends(struct.pack("<qi", 1 << 62, 4)),
    "answers in garbage": _sends(_packet(77, b"\xff" * 64)),
}


def _serve(how: str) -> Callable[..., None]:
    honest = tracker.session_functions.serve_session

    def hostile(fd: int, folder: Path, level: Level | None, emulated: bool) -> None:
        if how in RAW:
            RAW[how](fd)
            return
        register = tracker.session_functions._register

        def register_and_override(level: Level | None, emulated: bool) -> None:
            register(level, emulated)
            HOW[how]()

        tracker.session_functions._register = register_and_override
        honest(fd, folder, level, emulated)

    return hostile


if __name__ == "__main__":
    tracker.agent.serve_session = _serve(sys.argv[1])
    sys.exit(tracker.agent.main(sys.argv[2:]))
