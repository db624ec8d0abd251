"""TVM's own tracker: in this process, or as a child process that ends with this one."""

from __future__ import annotations

import argparse
import os
import socket
import time
from types import TracebackType

from tracker.access import TRACKER, Access
from tracker.address import Address
from tracker.child import ChildProcess, end_with_parent
from tracker.errors import TrackerError
from tracker.gate import entrance
from tracker.inventory import registered

_START_S = 60.0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one. Raises TrackerError when the address cannot be had."""
    try:
        listening = socket.create_server((host, port), backlog=128)
    except OSError as error:
        raise TrackerError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another port"
        ) from error
    # Accepted sockets inherit it; the tracker sends length and text apart, and Nagle would wait between them.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def serve(listening: socket.socket, access: Access | None = None) -> None:
    """Runs TVM's tracker on the socket until the process ends; behind a gate where it speaks TLS."""
    os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")
    from tvm.rpc.base import random_key
    from tvm.rpc.tracker import _tracker_server

    with entrance(listening, access or Access(), TRACKER) as peers:
        _tracker_server(peers, random_key("tracker"))


class TrackerProcess:
    """A running tracker; a context manager that stops it at the end."""

    def __init__(self, child: ChildProcess, address: Address) -> None:
        self.address = address
        self._child = child

    @classmethod
    def start(
        cls, host: str = "127.0.0.1", port: int | None = None, *, allow_plaintext: bool = False
    ) -> TrackerProcess:
        """Starts a tracker and waits until it answers; without ``port``, a free one is picked.

        It speaks no TLS: ``allow_plaintext`` is for hosts that others can reach. Raises TrackerError when the
        port is taken or the tracker does not come up.
        """
        access = Access(allow_plaintext=allow_plaintext)
        access.check_listening(host)
        with listen(host, port or 0) as listening:
            address = Address(host, listening.getsockname()[1], access)
            fd = listening.fileno()
            child = ChildProcess("tracker.tracker", ["--fd", str(fd)], pass_fds=[fd])
        try:
            _wait_until_it_answers(child, address)
        except BaseException:
            child.kill()
            raise
        return cls(child, address)

    @property
    def pid(self) -> int:
        """Of the tracker's process."""
        return self._child.pid

    def stop(self) -> None:
        """Ends the tracker; may be called twice."""
        self._child.stop()

    def __enter__(self) -> TrackerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _wait_until_it_answers(child: ChildProcess, address: Address) -> None:
    deadline = time.monotonic() + _START_S
    while child.exit_code() is None and time.monotonic() < deadline:
        try:
            registered(address, timeout_s=1.0)
        except TrackerError:
            time.sleep(0.02)
        else:
            return
    raise TrackerError(f"the tracker at {address} did not start; its last words:\n{child.log_tail()}")


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tracker.tracker")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    arguments = parser.parse_args()
    end_with_parent(arguments.lifeline)
    serve(socket.socket(fileno=arguments.fd), Access(allow_plaintext=True))  # The parent has asked for it.


if __name__ == "__main__":
    _main()
