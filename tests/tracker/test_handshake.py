import math
import struct

import pytest

from tracker.handshake import Garbage, Hello, parse_hello
from tracker.wire import RPC_MAGIC


def greeting(text: str) -> bytes:
    return struct.pack("<ii", RPC_MAGIC, len(text)) + text.encode()


def test_a_greeting_may_arrive_byte_by_byte() -> None:
    data = greeting("client:lab.a:0.25 -timeout=1.5")
    assert {parse_hello(data[:count]) for count in range(len(data))} == {None}
    assert parse_hello(data) == Hello("lab.a:0.25", 1.5)


def test_a_greeting_without_a_time_out_may_last_for_ever() -> None:
    assert parse_hello(greeting("client:lab.a:0.25")) == Hello("lab.a:0.25", math.inf)


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("<ii", RPC_MAGIC, -1),
        struct.pack("<ii", RPC_MAGIC, 1 << 30),
        greeting("server:lab.a:0.25"),
        greeting("client:lab.a -timeout=soon"),
        greeting("   "),
        struct.pack("<ii", RPC_MAGIC, 2) + b"\xff\xfe",
    ],
)
def test_anything_else_is_garbage_at_once(data: bytes) -> None:
    assert parse_hello(data) == Garbage()
