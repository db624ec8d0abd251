"""The device agent: a TVM RPC server that survives its sessions, its clients and its tracker.

TVM's own server dies for good when a session crashes or the tracker is away for a minute, and one silent peer
blocks everybody. This one speaks the same protocol; any TVM client can use it. TVM RPC has no authentication:
who reaches the port runs native code. So it listens on 127.0.0.1 unless told otherwise, and then has a gate.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from tracker.access import Access
from tracker.address import Address
from tracker.child import ChildProcess
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.gate import entrance
from tracker.inventory import registered
from tracker.levels import LEVELS, Level
from tracker.registration import Lease
from tracker.served import sweep
from tracker.serving import DeviceServer
from tracker.session_functions import import_tvm, serve_session
from tracker.tracker import listen

_START_S: Final = 60.0
_ANY_HOST: Final = ("", "0.0.0.0", "::")  # noqa: S104 (recognised, not bound)


def serve(
    tracker: Address,
    key: DeviceKey,
    host: str = "127.0.0.1",
    isa: Level | None = None,
    cores: Sequence[int] | None = None,
    *,
    port: int = 0,
    access: Access | None = None,
    emulated: bool = False,
    lifeline: int | None = None,
) -> None:
    """Serves this machine as device ``key`` until SIGTERM or SIGINT; to be called in the main thread.

    ``isa`` hides the processor's features above a level, ``cores`` pins every session, ``port`` 0 picks one.
    ``emulated`` says that this machine is itself an emulated one.
    ``access`` says how it is reached: behind a gate where it or its tracker can be from elsewhere. With a
    ``lifeline``, a pipe's reading end, it also ends when the pipe closes. Raises TrackerError for cores that
    do not exist, and where TLS is due and there is no credential of ``key``.
    """
    access = replace(access or Access(), loopback_too=tracker.tls)
    others = os.sched_getaffinity(0)
    pin(cores)
    listening = listen(host, port)
    device = Address(host, listening.getsockname()[1])
    with entrance(listening, access, str(key), others - set(cores or ()) or others) as peers:
        import_tvm()
        sweep()
        run = partial(serve_session, level=isa, emulated=emulated)
        lease = Lease(tracker, key, device, announced_host=None if host in _ANY_HOST else host)
        server = DeviceServer(peers, str(key), lease, run, lifeline)
        server.serve(lambda: print(f"device {key} is registered with the tracker at {tracker}", flush=True))


def pin(cores: Sequence[int] | None) -> None:
    """Keeps this process and its sessions on the cores; raises TrackerError when they cannot be had."""
    if cores is None:
        return
    try:
        os.sched_setaffinity(0, cores)
    except (OSError, ValueError) as error:
        available = sorted(os.sched_getaffinity(0))
        raise TrackerError(f"cannot use cores {list(cores)}; choose from {available}") from error


class AgentProcess:
    """A running device agent; a context manager that stops it at the end."""

    def __init__(self, child: ChildProcess, key: DeviceKey) -> None:
        self.key = key
        self._child = child

    @classmethod
    def start(
        cls,
        tracker: Address,
        key: DeviceKey,
        host: str = "127.0.0.1",
        isa: Level | None = None,
        cores: Sequence[int] | None = None,
    ) -> AgentProcess:
        """Starts an agent and waits until it is registered; raises TrackerError when it does not come up."""
        child = ChildProcess("tracker.agent", _arguments(tracker, key, host, isa, cores))
        return cls.of(child, tracker, key)

    @classmethod
    def of(cls, child: ChildProcess, tracker: Address, key: DeviceKey) -> AgentProcess:
        """An agent that has just been started, once it is registered; raises TrackerError likewise."""
        try:
            _wait_until_registered(child, tracker, key)
        except BaseException:
            child.kill()
            raise
        return cls(child, key)

    @property
    def pid(self) -> int:
        """Of the agent's process; each session is a child of it."""
        return self._child.pid

    def stop(self) -> None:
        """Ends the agent and its session; may be called twice."""
        self._child.stop()

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _arguments(
    tracker: Address, key: DeviceKey, host: str, isa: Level | None, cores: Sequence[int] | None
) -> list[str]:
    arguments = ["--tracker", str(tracker), "--key", str(key), "--host", host]
    arguments += ["--isa", isa] if isa else []
    arguments += ["--allow-plaintext"] if tracker.access.allow_plaintext else []
    arguments += ["--cores", ",".join(map(str, cores))] if cores is not None else []
    return arguments


def _wait_until_registered(child: ChildProcess, tracker: Address, key: DeviceKey) -> None:
    deadline = time.monotonic() + _START_S
    while child.exit_code() is None and time.monotonic() < deadline:
        if any(each.key == str(key) and each.state == "free" for each in registered(tracker)):
            return
        time.sleep(0.02)
    raise TrackerError(f"the agent of {key} did not start; its last words:\n{child.log_tail()}")


def _core_list(text: str) -> list[int]:
    return [int(core) for core in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tracker.agent", description="Serve this machine as a device."
    )
    parser.add_argument("--tracker", required=True, metavar="HOST:PORT")
    parser.add_argument("--key", required=True, metavar="CLASS.UNIT")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on and to tell the tracker")
    parser.add_argument("--port", type=int, default=0, help="to listen on; 0 picks a free one")
    parser.add_argument("--isa", choices=LEVELS, help="hide the processor's features above this level")
    parser.add_argument("--cores", type=_core_list, metavar="N,N", help="run sessions on these cores")
    parser.add_argument("--credential", type=Path, help="folder of this device's credential")
    parser.add_argument("--allow-plaintext", action="store_true", help="do without TLS on any address")
    parser.add_argument("--emulated", action="store_true", help="say that this machine is an emulated one")
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the agent from the command line; 2 for wrong input."""
    given = _parser().parse_args(arguments)
    try:
        access = Access(given.credential, given.allow_plaintext)
        serve(
            Address.parse(given.tracker, access),
            DeviceKey.parse(given.key),
            given.host,
            given.isa,
            given.cores,
            port=given.port,
            access=access,
            emulated=given.emulated,
            lifeline=given.lifeline,
        )
    except TrackerError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
