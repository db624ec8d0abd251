import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from tests.tracker.models import MATMUL
from tests.tracker.servers import wait_until
from tracker import forked
from tracker.address import Address
from tracker.conversation import Conversation
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.failure import SessionFailed
from tracker.forked import SessionProcess, SessionProcesses
from tracker.plain import decode
from tracker.session import Session
from tracker.timing import Timing


def server() -> psutil.Process:
    """The fork server of this process."""
    (found,) = [
        each for each in psutil.Process().children() if "tracker.fork_server" in " ".join(each.cmdline())
    ]
    return found


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@contextmanager
def started(processes: SessionProcesses) -> Iterator[tuple[SessionProcess, Connection]]:
    process, ours = processes.start()
    try:
        yield process, Connection(ours.detach())
    finally:
        process.kill()


def asked(connection: Connection) -> object:
    """What it answers to a request without a device: that it does not work."""
    connection.send(("time_networks", (["none"], 1, 1)))
    return str(decode(connection.recv_bytes())[0])


def test_a_server_forks_one_process_after_the_other_and_has_one_thread(processes: SessionProcesses) -> None:
    with started(processes) as (one, first), started(processes) as (two, second):
        assert one.pid != two.pid
        assert asked(first) == asked(second) == "failed"
        assert {each.pid for each in server().children()} == {one.pid, two.pid}
        assert server().num_threads() == 1


def test_a_process_dies_alone(processes: SessionProcesses) -> None:
    with started(processes) as (one, _), started(processes) as (_, second):
        one.kill()
        one.kill()
        assert is_gone(one.pid)
        assert asked(second) == "failed"


def test_a_stopped_process_dies_too(processes: SessionProcesses) -> None:
    with started(processes) as (process, _):
        os.kill(process.pid, signal.SIGSTOP)
    assert is_gone(process.pid)


def test_a_killed_server_is_replaced_and_takes_nobody_along(processes: SessionProcesses) -> None:
    with started(processes) as (_, before):
        killed = server()
        killed.kill()
        with started(processes) as (_, after):
            assert asked(before) == asked(after) == "failed"
            assert server().pid != killed.pid


def test_a_stopped_server_is_replaced(processes: SessionProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "_FORK_S", 0.5)
    with started(processes):  # From now on the server's deadline is the short one.
        stopped = server()
        stopped.suspend()
    with started(processes) as (_, connection):
        assert asked(connection) == "failed"
    assert is_gone(stopped.pid)


def test_an_interrupted_start_confuses_nobody(
    processes: SessionProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(socket, "recv_fds", interrupt)
        with pytest.raises(KeyboardInterrupt):
            processes.start()
    with started(processes) as (process, connection):
        assert asked(connection) == "failed"
        process.kill()
        with pytest.raises(EOFError):
            connection.recv_bytes()


def test_a_server_that_cannot_start_is_named_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tvm.py").write_text("raise SystemExit('this TVM is broken')")
    monkeypatch.setattr(forked, "_ENVIRONMENT", {})
    monkeypatch.setattr("tracker.child._ROOT", f"{tmp_path}{os.pathsep}{Path.cwd()}")
    with pytest.raises(TrackerError, match="this TVM is broken"):
        SessionProcesses().start()
    monkeypatch.setattr("tracker.conversation.session_processes", SessionProcesses())
    with pytest.raises(SessionFailed, match="this TVM is broken") as raised:
        Conversation("lab.nobody")
    assert raised.value.failure.operation == "start"


class LastWords:
    """Ends the process that receives it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("import os; os.write(2, b'out of patience'); os.abort()",)


def test_what_a_process_wrote_is_in_its_failure_and_in_no_other() -> None:
    told, silent = Conversation("lab.one"), Conversation("lab.two")
    os.kill(silent.pid, signal.SIGKILL)
    with pytest.raises(SessionFailed, match="out of patience") as raised:
        told.ask("describe", LastWords(), deadline_s=5.0)
    with pytest.raises(SessionFailed) as other:
        silent.ask("describe", deadline_s=5.0)
    assert raised.value.failure.kind == other.value.failure.kind == "crash"
    assert "patience" not in other.value.failure.message
    assert is_gone(told.pid)


def test_sessions_are_opened_from_many_threads(tracker: Address, agent: DeviceKey, kernels: Path) -> None:
    results: list[object] = []

    def work() -> None:
        with Session.open(tracker, agent) as session:
            results.extend(session.time_functions(kernels, [MATMUL]))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [type(each) for each in results] == [Timing] * 6


def test_it_runs_on_the_cores_of_its_parent_as_they_are_now(processes: SessionProcesses) -> None:
    before = os.sched_getaffinity(0)
    with started(processes) as (process, connection):
        assert asked(connection) == "failed"
        assert os.sched_getaffinity(process.pid) == before
    os.sched_setaffinity(0, {max(before)})
    try:
        with started(processes) as (process, connection):
            assert asked(connection) == "failed"
            assert os.sched_getaffinity(process.pid) == {max(before)}
    finally:
        os.sched_setaffinity(0, before)


def test_nothing_outlives_a_parent_that_is_killed() -> None:
    code = """
import time, psutil
from tracker.forked import SessionProcesses
held = SessionProcesses().start()
print(held[0].pid, *(each.pid for each in psutil.Process().children()), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(each) for each in parent.stdout.readline().split()]
        os.kill(parent.pid, signal.SIGKILL)
    assert len(pids) == 2
    assert wait_until(lambda: all(map(is_gone, pids)))


def test_processes_leave_no_descriptor_behind(processes: SessionProcesses) -> None:
    with started(processes):
        pass
    ours, theirs = len(os.listdir("/proc/self/fd")), server().num_fds()
    for _ in range(5):
        process, connection = processes.start()
        connection.close()
        process.kill()
    assert len(os.listdir("/proc/self/fd")) == ours
    assert wait_until(lambda: server().num_fds() <= theirs)
    assert isinstance(connection, socket.socket)
