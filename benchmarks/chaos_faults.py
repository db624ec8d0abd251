"""Kinds of fault: how each is made, how one tells that it was noticed, and how it is undone.

A fault is made only where it can be felt: a session is killed while it serves. ``make`` says when it was
made, or None where that cannot be now.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

import psutil

from benchmarks.chaos_run import ChaosRun
from benchmarks.shelf import Board, Shelf
from tracker.errors import TrackerError
from tracker.wire import REQUEST, RPC_MAGIC, TrackerConnection

REBOOT_S = 20.0
SHORT_S, LONG_S = 5.0, 120.0
SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGILL)
SLOW_S = 5.0
TOLD_S = 0.5
"""A story is written at once, by a driver that looks several times a second."""
NEXT_SESSION_S = 15.0
"""All boards share a core and take turns."""


@dataclass(frozen=True)
class World:
    """Everything that can be harmed."""

    shelf: Shelf
    run: ChaosRun
    random: Random

    def told(self, device: str, since_s: float, kinds: tuple[str, ...], text: str = "") -> bool:
        """Whether the story has such an event of the device since then."""
        return any(
            each.device == device and each.kind in kinds and each.at_s >= since_s and text in each.reason
            for each in self.run.story()
        )

    def tracker_missed(self) -> bool:
        """Whether the tracker is away by what the story said last of it."""
        told = [each.kind for each in self.run.story() if each.device == "tracker"]
        return told[-1:] == ["lost"]


@dataclass(frozen=True, slots=True)
class Made:
    """A fault that was made."""

    at_s: float
    noticed: Callable[[], bool]
    undo: Callable[[], None] = lambda: None
    """After it was noticed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind; ``alone`` ones concern everybody and wait until nothing else is going on."""

    name: str
    make: Callable[[World, Board], Made | None]
    at_work: bool = False
    """Whether it takes a board that serves a session."""
    alone: bool = False
    privileged: bool = False


def _harm(
    world: World, board: Board, undo: Callable[[], None] = lambda: None, since_s: float | None = None
) -> Made:
    """A fault of a board that the run's story must tell of, since ``since_s`` where not since now."""
    device, now = str(board.key), time.time()
    since = now if since_s is None else since_s
    return Made(now, lambda: world.told(device, since, ("fault", "lost", "quarantined")), undo)


def _session_killed(world: World, board: Board) -> Made | None:
    """Noticed, too, when another session has taken its place: it may have been kept for the next batch."""
    session, harm = board.session(), _harm(world, board)
    if session is None or not board.kill_session(world.random.choice(SIGNALS)):
        return None
    return Made(harm.at_s, lambda: harm.noticed() or board.session() not in (None, session))


def _session_stopped(world: World, board: Board) -> Made | None:
    session, harm = board.session(), _harm(world, board)
    if session is None or not board.kill_session(signal.SIGSTOP):
        return None
    return Made(harm.at_s, lambda: harm.noticed() or board.session() not in (None, session))


def _session_starved(world: World, board: Board) -> Made | None:
    """Only uploads and larger tensors ask for memory, so it has to be a session that has just begun."""
    if not _next_session(board):
        return None
    now = time.time()
    session = board.session()
    if not board.starve_session() or not _uploaded(board, now):
        return None
    made = _harm(world, board, since_s=now)
    while board.session() == session and not made.noticed() and time.time() < now + NEXT_SESSION_S:
        time.sleep(0.02)
    time.sleep(TOLD_S)
    # Without trouble at its end it had all the memory that it asked for.
    return made if made.noticed() or board.session() == session else None


def _agent_killed(world: World, board: Board) -> Made | None:
    made = _harm(world, board, lambda: _power_on(board, 0.0))
    board.kill()
    return made


def _rebooted(world: World, board: Board) -> Made | None:
    made = _harm(world, board, lambda: _power_on(board, made.at_s + REBOOT_S - time.time()))
    board.wipe()
    return made


def _frozen(world: World, board: Board) -> Made | None:
    made = _harm(world, board, board.thaw)
    board.freeze()
    return made


def _cut(world: World, board: Board) -> Made | None:
    made = _harm(world, board, board.heal)
    board.cut()
    return made


def _disk_full(world: World, board: Board) -> Made | None:
    """Felt by the next session, whose library does not arrive; by the time it is seen here it may be over."""
    full_s = time.time()
    board.fill_disk()
    if not _next_session(board) or not _uploaded(board, full_s):
        board.empty_disk()
        return None
    return _harm(world, board, board.empty_disk, full_s)


def _slow(world: World, board: Board) -> Made | None:
    """Nothing is wrong with a slow link: noticed means that for a while nobody took it for a fault."""
    now = time.time()
    board.slow_down()
    return Made(
        now,
        lambda: time.time() > now + SLOW_S and not world.told(str(board.key), now, ("fault", "lost")),
        board.speed_up,
    )


def _silent_peer(_: World, board: Board) -> Made | None:
    place = board.address
    if place is None:
        return None
    peer = socket.create_connection((place.host, place.port), 2.0)
    return Made(time.time(), lambda: _hung_up(peer), peer.close)


def _upload_in_half(world: World, board: Board) -> Made | None:
    """A client that gets the device, begins a packet of a megabyte, and goes."""
    with contextlib.suppress(OSError, TrackerError, struct.error, ValueError):
        with TrackerConnection(world.shelf.tracker, 1.0) as tracker:
            _, (host, port, matchkey) = tracker.call(REQUEST, str(board.key), "", 1)
        with socket.create_connection((host, port), 2.0) as connection:
            hello = f"client:{matchkey}".encode()
            connection.sendall(struct.pack("<ii", RPC_MAGIC, len(hello)) + hello)
            connection.recv(4)
            connection.sendall(struct.pack("<Q", 1 << 20) + bytes(1 << 16))
            until = time.monotonic() + 1.0
            while (served := board.session()) is None and time.monotonic() < until:
                time.sleep(0.005)
        if served is not None:
            return Made(time.time(), lambda: not psutil.pid_exists(served))
    return None


def _worker_killed(world: World, _: Board) -> Made | None:
    """The actor of a device at work; one that only kept its session is started anew without a word."""
    drivers = [each for each in world.run.processes() if "DeviceDriver" in _title(each)]
    busy = [each for each in drivers if _serves(each)]
    if not busy:
        return None
    now, before = time.time(), {each.pid for each in drivers}
    world.random.choice(busy).kill()
    devices = [str(key) for key in world.shelf.boards]
    death = "process that drives it died"

    def noticed() -> bool:
        there = {each.pid for each in world.run.processes() if "DeviceDriver" in _title(each)}
        return bool(there - before) or any(world.told(each, now, ("fault",), death) for each in devices)

    return Made(now, noticed)


def _tracker_killed(seconds: float) -> Callable[[World, Board], Made]:
    def make(world: World, _: Board) -> Made:
        now = time.time()
        world.shelf.kill_tracker()
        back = partial(_bring_back, world.shelf, now + seconds)
        return Made(now, world.tracker_missed, back)

    return make


def _driver_killed(number: signal.Signals) -> Callable[[World, Board], Made | None]:
    def make(world: World, _: Board) -> Made | None:
        now = time.time()
        return Made(now, lambda: True) if world.run.interrupt(number) else None

    return make


FAULTS = (
    Fault("session killed", _session_killed, at_work=True),
    Fault("session stopped", _session_stopped, at_work=True),
    Fault("session starved of memory", _session_starved),
    Fault("agent killed", _agent_killed),
    Fault("board rebooted, files gone", _rebooted),
    Fault("board frozen", _frozen),
    Fault("network cut", _cut, privileged=True),
    Fault("network slow", _slow, privileged=True),
    Fault("disk full", _disk_full, privileged=True),
    Fault("silent peer", _silent_peer),
    Fault("upload sent in half", _upload_in_half),
    Fault("worker killed", _worker_killed),
    Fault("tracker away for 5 s", _tracker_killed(SHORT_S), alone=True),
    Fault("driver killed", _driver_killed(signal.SIGKILL), alone=True),
    Fault("Ctrl-C", _driver_killed(signal.SIGINT), alone=True),
)
LONG_OUTAGE = Fault("tracker away for 120 s", _tracker_killed(LONG_S), alone=True)


def _next_session(board: Board) -> bool:
    """Waits for a session that has just begun; whether one came."""
    before, until = board.session(), time.monotonic() + NEXT_SESSION_S
    while board.session() in (None, before) and time.monotonic() < until:
        time.sleep(0.005)
    return board.session() not in (None, before)


def _uploaded(board: Board, since_s: float) -> bool:
    """Waits for an upload in the session of now; whether one came: without one nobody feels anything."""
    session, until = board.session(), time.monotonic() + NEXT_SESSION_S
    while not board.uploads_since(since_s) and time.monotonic() < until and board.session() == session:
        time.sleep(0.005)
    return board.uploads_since(since_s)


def _power_on(board: Board, after_s: float) -> None:
    """Later, in a thread: other boards may fail meanwhile."""
    threading.Timer(max(0.0, after_s), board.start).start()


def _bring_back(shelf: Shelf, at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.time()))
    shelf.start_tracker()


def _hung_up(peer: socket.socket) -> bool:
    peer.settimeout(0.1)
    try:
        return peer.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _serves(process: psutil.Process) -> bool:
    """Whether its fork server has a session's process."""
    with contextlib.suppress(psutil.Error):
        servers = [each for each in process.children() if "tracker.fork_server" in _title(each)]
        return any(each.children() for each in servers)
    return False
