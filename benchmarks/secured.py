"""What mutual TLS costs: round trips and transfers of a session, through gate and tunnel and without them.

    python -m benchmarks.secured

Both fleets are real: a tracker and an agent, once on loopback, once on this machine's own address with
credentials of a fleet made for the occasion. The relay alone is timed as well, between two socket pairs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from tracker.access import COORDINATOR, TRACKER, Access
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.authority import Authority
from tracker.credential import Credential
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.inventory import registered
from tracker.relay import relay
from tracker.remote import RemoteDevice, connect
from tracker.tracker import TrackerProcess

KEY = DeviceKey("lab", "one")
ROUND_TRIPS = 3000
TRANSFER_BYTES = 16 << 20
REPEATS = 3


def main() -> None:
    with TemporaryDirectory() as folder:
        authority = Authority.establish(Path(folder))
        credentials = {each: authority.issue(each) for each in (TRACKER, COORDINATOR, str(KEY))}
        print(f"relay alone: {_relay_rate(credentials) / 1e6:.0f} MB/s from the device")
        with TrackerProcess.start() as tracker, AgentProcess.start(tracker.address, KEY):
            _report("loopback, plaintext", tracker.address)
        with _secured(credentials) as address:
            _report("gate and tunnel, TLS 1.3", address)


def _report(name: str, tracker: Address) -> None:
    start = time.perf_counter()
    session, _ = connect(tracker, str(KEY), time.monotonic() + 20, 600)
    opened_s = time.perf_counter() - start
    device = RemoteDevice(session)
    trips = sorted(_round_trips(device))
    up, down = _transfers(device)
    print(
        f"{name}: open {1e3 * opened_s:.0f} ms; round trip {1e6 * median(trips):.0f} us, "
        f"p95 {1e6 * trips[int(0.95 * len(trips))]:.0f} us; tensors {up:.0f} MB/s up, {down:.0f} MB/s down"
    )


def _round_trips(device: RemoteDevice) -> list[float]:
    ask = device.session.get_function("runtime.NumThreads")
    seconds = []
    for _ in range(ROUND_TRIPS):
        start = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - start)
    return seconds


def _transfers(device: RemoteDevice) -> tuple[float, float]:
    """Medians in MB/s."""
    values = np.random.default_rng(0).integers(0, 255, TRANSFER_BYTES, np.uint8)
    tensor = device.tensor(values)
    up, down = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        tensor.copyfrom(values)
        up.append(time.perf_counter() - start)
        start = time.perf_counter()
        tensor.numpy()
        down.append(time.perf_counter() - start)
    return TRANSFER_BYTES / median(up) / 1e6, TRANSFER_BYTES / median(down) / 1e6


def _relay_rate(credentials: dict[str, Path]) -> float:
    """Bytes a second from a TLS end to a plain one, as a session's answers go."""
    inner, outer = socket.socketpair()
    plain, client = socket.socketpair()
    server = Credential.open(credentials[str(KEY)]).server_context()
    packet = (TRANSFER_BYTES + 4).to_bytes(8, "little") + (4).to_bytes(4, "little") + bytes(TRANSFER_BYTES)

    def answer() -> None:
        with server.wrap_socket(outer, server_side=True) as device:
            device.sendall(packet)

    threading.Thread(target=answer, daemon=True).start()
    secured = Credential.open(credentials[COORDINATOR]).client_context().wrap_socket(inner)
    if os.fork() == 0:
        relay(secured, plain)
        os._exit(0)
    start, left = time.perf_counter(), len(packet)
    while left:
        left -= len(client.recv(1 << 20))
    return len(packet) / (time.perf_counter() - start)


@contextlib.contextmanager
def _secured(credentials: dict[str, Path]) -> Iterator[Address]:
    host = _own_host()
    with socket.create_server((host, 0)) as free:
        address = Address(host, free.getsockname()[1], Access(credentials[COORDINATOR]))
    commands: list[list[object]] = [
        ["tracker", "--host", host, "--port", str(address.port), "--credential", credentials[TRACKER]],
        ["device", "--tracker", str(address), "--host", host, "--key", str(KEY), "--credential"],
    ]
    commands[1].append(credentials[str(KEY)])
    with contextlib.ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen([sys.executable, "-m", "cluster", *map(str, command)])
            stack.callback(process.wait)
            stack.callback(process.terminate)
        while not _free(address):
            time.sleep(0.1)
        yield address


def _own_host() -> str:
    """The address from which this machine would call others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        towards.connect(("192.0.2.1", 9))
        return str(towards.getsockname()[0])


def _free(tracker: Address) -> bool:
    with contextlib.suppress(TrackerError):
        return any(each.state == "free" for each in registered(tracker))
    return False


if __name__ == "__main__":
    main()
