"""What goes wrong with one device: seen within ten seconds, said what it was, and the device works again."""

import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.shelf import Board, Shelf, can_make_networks
from tests.tracker.models import MATMUL, SLEEP, build_kernels
from tests.tracker.servers import wait_until
from tracker.device import DeviceKey
from tracker.failure import Failure, SessionFailed
from tracker.session import Session
from tracker.timing import Timing, TimingPolicy
from tracker.wire import REQUEST, RPC_MAGIC, TrackerConnection

KEY = DeviceKey("lab", "board")
PATIENT = TimingPolicy(deadline_s=3600)
"""So that nothing is noticed by its deadline."""
needs_networks = pytest.mark.skipif(
    not can_make_networks(), reason="takes root and iproute2, to give a board a network and a disk of its own"
)


@pytest.fixture(scope="module")
def shelf() -> Iterator[Shelf]:
    with Shelf() as shelf:
        shelf.add(KEY)
        yield shelf


@pytest.fixture
def board(shelf: Shelf) -> Iterator[Board]:
    board = shelf.boards[KEY]
    board.wait()
    yield board
    assert wait_until(lambda: board.session() is None)
    assert wait_until(lambda: not list(board.disk.iterdir())), list(board.disk.iterdir())


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_kernels(tmp_path_factory.mktemp("kernels") / "kernels.so")


def works(shelf: Shelf, kernels: Path) -> bool:
    with Session.open(shelf.tracker, KEY, deadline_s=60.0) as session:
        (timing,) = session.time_functions(kernels, [MATMUL])
        return isinstance(timing, Timing)


def failure_of(session: Session, kernels: Path, fault: object = None) -> Failure:
    """Of a kernel that would run for a minute."""
    (failure,) = session.time_functions(kernels, [SLEEP], PATIENT)
    assert isinstance(failure, Failure)
    return failure


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGILL])
def test_a_session_that_is_killed(shelf: Shelf, board: Board, kernels: Path, number: signal.Signals) -> None:
    with Session.open(shelf.tracker, KEY) as session:
        assert wait_until(lambda: board.kill_session(number))
        assert failure_of(session, kernels).kind == "crash"
    assert works(shelf, kernels)


def test_an_agent_that_is_killed_comes_back(shelf: Shelf, board: Board, kernels: Path) -> None:
    with Session.open(shelf.tracker, KEY) as session:
        board.kill()
        assert failure_of(session, kernels).kind == "crash"
    with pytest.raises(SessionFailed, match="not registered"):
        Session.open(shelf.tracker, KEY)
    board.start()
    board.wait()
    assert works(shelf, kernels)


def test_a_board_that_reboots_without_its_files(shelf: Shelf, board: Board, kernels: Path) -> None:
    with Session.open(shelf.tracker, KEY) as session:
        assert isinstance(session.time_functions(kernels, [MATMUL])[0], Timing)
        board.wipe()
        assert failure_of(session, kernels).kind == "crash"
    assert list(board.disk.iterdir()) == []
    board.start()
    board.wait()
    assert works(shelf, kernels)


def test_a_frozen_board_that_thaws(shelf: Shelf, board: Board, kernels: Path) -> None:
    with Session.open(shelf.tracker, KEY) as session:
        board.freeze()
        assert failure_of(session, kernels).kind == "unreachable"
        with pytest.raises(SessionFailed) as raised:
            Session.open(shelf.tracker, KEY, deadline_s=6.0)
        assert raised.value.failure.kind in ("unreachable", "timeout", "busy")
    board.thaw()
    assert works(shelf, kernels)


@needs_networks
def test_a_network_that_is_cut_and_healed(shelf: Shelf, board: Board, kernels: Path) -> None:
    with Session.open(shelf.tracker, KEY) as session:
        board.cut()
        try:
            assert failure_of(session, kernels).kind == "unreachable"
            # The other side notices as well: nobody is left in the device's way.
            assert wait_until(lambda: board.session() is None)
        finally:
            board.heal()
    board.wait()
    assert works(shelf, kernels)


@needs_networks
def test_a_slow_network_is_no_fault(shelf: Shelf, board: Board, kernels: Path, tmp_path: Path) -> None:
    larger = tmp_path / "larger.so"
    larger.write_bytes(kernels.read_bytes() + bytes(700_000))
    board.slow_down("1mbit")
    try:
        with Session.open(shelf.tracker, KEY) as session:
            (timing,) = session.time_functions(larger, [MATMUL], TimingPolicy(deadline_s=2.0))
    finally:
        board.speed_up()
    assert isinstance(timing, Timing)


@needs_networks
def test_a_full_disk(shelf: Shelf, board: Board, kernels: Path) -> None:
    with Session.open(shelf.tracker, KEY) as session:
        board.fill_disk()
        try:
            (failure,) = session.time_functions(kernels, [MATMUL], PATIENT)
        finally:
            board.empty_disk()
    assert isinstance(failure, Failure)
    assert failure.kind == "garbled"
    assert works(shelf, kernels)


def test_a_session_that_gets_no_memory(shelf: Shelf, board: Board, kernels: Path, tmp_path: Path) -> None:
    larger = tmp_path / "larger.so"
    larger.write_bytes(kernels.read_bytes() + bytes(8 << 20))
    with Session.open(shelf.tracker, KEY) as session:
        assert wait_until(board.starve_session)
        (failure,) = session.time_functions(larger, [MATMUL], PATIENT)
    assert isinstance(failure, Failure)
    assert failure.kind in ("refused", "crash")
    assert works(shelf, kernels)


def greeted(shelf: Shelf) -> socket.socket:
    """A client that has the device, and speaks TVM's protocol by hand."""
    with TrackerConnection(shelf.tracker, 5.0) as tracker:
        _, (host, port, matchkey) = tracker.call(REQUEST, str(KEY), "", 1)
    connection = socket.create_connection((host, port), 5.0)
    hello = f"client:{matchkey}".encode()
    connection.sendall(struct.pack("<ii", RPC_MAGIC, len(hello)) + hello)
    assert struct.unpack("<i", connection.recv(4)) == (RPC_MAGIC,)
    return connection


def test_an_upload_that_is_sent_in_half(shelf: Shelf, board: Board, kernels: Path) -> None:
    with greeted(shelf) as connection:
        connection.sendall(struct.pack("<Q", 1 << 20) + bytes(1 << 19))
        assert wait_until(lambda: board.session() is not None)
    assert wait_until(lambda: board.session() is None, 10.0)
    assert works(shelf, kernels)


@needs_networks
def test_a_client_that_is_cut_off(shelf: Shelf, board: Board, kernels: Path) -> None:
    with greeted(shelf):
        assert wait_until(lambda: board.session() is not None)
        board.cut()
        try:
            assert wait_until(lambda: board.session() is None, 20.0)
        finally:
            board.heal()
    board.wait()
    assert works(shelf, kernels)


def test_a_silent_peer(shelf: Shelf, board: Board, kernels: Path) -> None:
    place = board.address
    assert place is not None
    with socket.create_connection((place.host, place.port)) as silent:
        assert works(shelf, kernels)
        silent.settimeout(10.0)
        assert silent.recv(1) == b""


def test_a_tracker_that_dies_while_a_session_runs(shelf: Shelf, board: Board, kernels: Path) -> None:
    with Session.open(shelf.tracker, KEY) as session:
        shelf.kill_tracker()
        assert isinstance(session.time_functions(kernels, [MATMUL])[0], Timing)
        with pytest.raises(SessionFailed) as raised:
            Session.open(shelf.tracker, KEY)
        assert raised.value.failure.kind == "tracker"
        time.sleep(1.0)
        shelf.start_tracker()
    board.wait()
    assert works(shelf, kernels)
