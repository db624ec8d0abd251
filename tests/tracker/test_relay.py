"""What gets through from a device, and that all of it does."""

import os
import socket
import ssl
import struct
import threading
from pathlib import Path

import pytest

from tracker.authority import Authority
from tracker.credential import Credential
from tracker.relay import AnswersOnly, UnexpectedPacketError, relay

RETURN, EXCEPTION, COPY_ACK = 4, 5, 8


def packet(code: int, content: bytes = b"") -> bytes:
    return struct.pack("<qi", 4 + len(content), code) + content


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_answers_pass_however_they_are_cut(step: int) -> None:
    data = packet(RETURN, b"x" * 20) + packet(EXCEPTION) + packet(COPY_ACK, bytes(300)) + packet(RETURN)
    check = AnswersOnly().check
    for start in range(0, len(data), step):
        check(memoryview(data)[start : start + step])


@pytest.mark.parametrize("code", [-1, 0, 1, 2, 3, 6, 7, 9, 10, 77])
def test_orders_do_not(code: int) -> None:
    """Among them: initialise yourself as a server (2), call a function (3)."""
    check = AnswersOnly().check
    check(memoryview(packet(RETURN, b"first, an answer")))
    with pytest.raises(UnexpectedPacketError, match=f"code {code}"):
        check(memoryview(packet(code)))


@pytest.mark.parametrize("size", [0, 3, -1, 1 << 31, 1 << 62])
def test_nor_do_packets_of_impossible_sizes(size: int) -> None:
    with pytest.raises(UnexpectedPacketError):
        AnswersOnly().check(memoryview(struct.pack("<qi", size, RETURN)))


@pytest.fixture
def ends(tmp_path: Path) -> tuple[ssl.SSLSocket, socket.socket, ssl.SSLSocket, socket.socket]:
    """Of a relay: its TLS and plain sockets, then the device's and the client's."""
    authority = Authority.establish(tmp_path)
    device, coordinator = (Credential.open(authority.issue(each)) for each in ("lab.a", "coordinator"))
    inner, outer = socket.socketpair()
    context = device.server_context()
    accepted: list[ssl.SSLSocket] = []
    server = threading.Thread(target=lambda: accepted.append(context.wrap_socket(outer, server_side=True)))
    server.start()
    secured = coordinator.client_context().wrap_socket(inner)
    server.join()
    plain, client = socket.socketpair()
    return secured, plain, accepted[0], client


def test_megabytes_cross_both_ways_at_once_and_the_end_is_passed_on(
    ends: tuple[ssl.SSLSocket, socket.socket, ssl.SSLSocket, socket.socket],
) -> None:
    secured, plain, device, client = ends
    content = os.urandom(3_000_000)
    relaying = threading.Thread(target=relay, args=(secured, plain))
    sending = threading.Thread(target=client.sendall, args=(content,))
    answering = threading.Thread(target=device.sendall, args=(packet(RETURN, content),))
    for each in (relaying, sending, answering):
        each.start()
    assert _read(client, 12 + len(content))[12:] == content
    answering.join()
    assert _read(device, len(content)) == content
    sending.join()
    client.close()
    relaying.join(20)
    assert not relaying.is_alive()
    for each in (secured, plain, device):
        each.close()


def _read(end: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        data += end.recv(1 << 16)
    return bytes(data)
