import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.tracker.models import DIE, MATMUL, SLEEP
from tests.tracker.servers import Kind, listening_ports, state_of, wait_until
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.failure import Failure, SessionFailed
from tracker.inventory import registered
from tracker.session import Session
from tracker.timing import Timing, TimingPolicy
from tracker.tracker import TrackerProcess
from tracker.wire import REQUEST, TrackerConnection

KEY = DeviceKey("lab", "own")


@pytest.fixture
def own(tracker: Address, kind: Kind) -> Iterator[AgentProcess]:
    """An agent for one test."""
    with kind.start(tracker, KEY) as process:
        yield process


def folders(agent_pid: int) -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"blinknet-session-{agent_pid}-*"))


def works(tracker: Address, key: DeviceKey, kernels: Path) -> bool:
    with Session.open(tracker, key) as session:
        (timing,) = session.time_functions(kernels, [MATMUL])
        return isinstance(timing, Timing)


def test_it_comes_back_after_the_tracker_was_away(kind: Kind, kernels: Path) -> None:
    with TrackerProcess.start() as first:
        agent = kind.start(first.address, KEY)
    with agent, TrackerProcess.start(port=first.address.port) as second:
        assert wait_until(lambda: state_of(second.address, KEY) == "free")
        assert works(second.address, KEY, kernels)


def test_it_stays_registered_while_busy_and_survives_a_tracker_lost_meanwhile(kind: Kind) -> None:
    with TrackerProcess.start() as first:
        agent = kind.start(first.address, KEY)
        session = Session.open(first.address, KEY)
    with agent, TrackerProcess.start(port=first.address.port) as second:
        assert wait_until(lambda: state_of(second.address, KEY) == "busy")
        session.close()
        assert wait_until(lambda: state_of(second.address, KEY) == "free")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_it_survives_a_session_that_dies(
    tracker: Address, own: AgentProcess, kernels: Path, number: signal.Signals
) -> None:
    with Session.open(tracker, KEY) as session:
        os.kill(session.describe().pid, number)
        (failure,) = session.time_functions(kernels, [MATMUL])
        assert isinstance(failure, Failure)
        assert failure.kind == "crash"
    assert works(tracker, KEY, kernels)


def test_it_survives_a_kernel_that_aborts(tracker: Address, own: AgentProcess, kernels: Path) -> None:
    with Session.open(tracker, KEY) as session:
        before, culprit, after = session.time_functions(kernels, [MATMUL, DIE, MATMUL])
    assert isinstance(before, Timing)
    assert isinstance(culprit, Failure)
    assert isinstance(after, Failure)
    assert (culprit.kind, culprit.operation, after.kind) == ("crash", "time die", "skipped")
    assert works(tracker, KEY, kernels)
    assert wait_until(lambda: folders(own.pid) == [])


def test_it_ends_a_session_whose_time_is_over(tracker: Address, own: AgentProcess, kernels: Path) -> None:
    with Session.open(tracker, KEY, session_timeout_s=0.5) as session:
        (failure,) = session.time_functions(kernels, [SLEEP])
    assert isinstance(failure, Failure)
    assert (failure.kind, "0.5 s are over" in failure.message) == ("timeout", True)
    assert works(tracker, KEY, kernels)


def test_it_is_free_again_when_its_client_is_killed_in_the_middle_of_a_kernel(
    tracker: Address, own: AgentProcess, kernels: Path
) -> None:
    with Session.open(tracker, KEY) as session:
        served = session.describe().pid
        results = session.stream_timings(kernels, [MATMUL, SLEEP])
        assert isinstance(next(results), Timing)
        client = threading.Timer(0.2, os.kill, (session.pid, signal.SIGKILL))
        client.start()
        (failure,) = list(results)
        assert isinstance(failure, Failure)
        assert failure.kind == "crash"
        assert wait_until(lambda: not psutil.pid_exists(served), 5.0)
    assert wait_until(lambda: state_of(tracker, KEY) == "free")


def test_a_silent_peer_and_garbage_do_not_keep_others_waiting(
    tracker: Address, own: AgentProcess, kernels: Path
) -> None:
    (place,) = [each.address for each in registered(tracker) if each.key == str(KEY)]
    peers = [socket.create_connection((place.host, place.port)) for _ in range(3)]
    peers[1].sendall(b"GET / HTTP/1.1\r\n\r\n")
    peers[2].sendall(b"\x71")
    try:
        assert works(tracker, KEY, kernels)
        assert peers[1].recv(1) == b""
    finally:
        for peer in peers:
            peer.close()


def test_a_frozen_device_is_no_device_until_it_thaws(
    tracker: Address, own: AgentProcess, kernels: Path
) -> None:
    os.kill(own.pid, signal.SIGSTOP)
    try:
        with pytest.raises(SessionFailed, match="nothing answers") as raised:
            Session.open(tracker, KEY, deadline_s=3600)
    finally:
        os.kill(own.pid, signal.SIGCONT)
    assert raised.value.failure.kind == "unreachable"
    assert works(tracker, KEY, kernels)


def test_a_device_that_freezes_in_the_middle_ends_what_is_awaited(
    tracker: Address, own: AgentProcess, kernels: Path
) -> None:
    with Session.open(tracker, KEY) as session:
        both = [own.pid, session.describe().pid]
        for pid in both:
            os.kill(pid, signal.SIGSTOP)
        try:
            (failure,) = session.time_functions(kernels, [MATMUL], TimingPolicy(deadline_s=3600))
        finally:
            for pid in both:
                os.kill(pid, signal.SIGCONT)
    assert isinstance(failure, Failure)
    assert (failure.kind, "any more" in failure.message) == ("unreachable", True)
    assert works(tracker, KEY, kernels)


def test_a_session_that_somebody_stopped_is_ended_and_the_device_is_free(
    tracker: Address, own: AgentProcess, kernels: Path
) -> None:
    with Session.open(tracker, KEY) as session:
        os.kill(session.describe().pid, signal.SIGSTOP)
        (failure,) = session.time_functions(kernels, [MATMUL], TimingPolicy(deadline_s=3600))
    assert isinstance(failure, Failure)
    assert failure.kind == "crash"
    assert works(tracker, KEY, kernels)


def test_a_client_that_is_asked_for_and_does_not_come_is_not_awaited(
    tracker: Address, own: AgentProcess
) -> None:
    with TrackerConnection(tracker, 5.0) as connection:
        connection.call(REQUEST, str(KEY), "", 1)
    assert state_of(tracker, KEY) == "busy"
    assert wait_until(lambda: state_of(tracker, KEY) == "free")


def test_sigterm_leaves_nothing(tracker: Address, own: AgentProcess, kernels: Path) -> None:
    session = Session.open(tracker, KEY)
    assert isinstance(session.time_functions(kernels, [MATMUL])[0], Timing)
    served = session.describe().pid
    assert len(folders(own.pid)) == 1
    own.stop()
    assert not psutil.pid_exists(served)
    assert folders(own.pid) == []
    assert wait_until(lambda: state_of(tracker, KEY) == "gone")
    session.close()


def test_the_next_agent_removes_what_a_killed_one_left(
    tracker: Address, own: AgentProcess, kind: Kind
) -> None:
    with Session.open(tracker, KEY):
        os.kill(own.pid, signal.SIGKILL)
        assert wait_until(lambda: state_of(tracker, KEY) == "gone")
    own.stop()
    assert len(folders(own.pid)) == 1
    with kind.start(tracker, KEY):
        assert folders(own.pid) == []


def test_it_dies_with_its_parent(tracker: Address, kind: Kind) -> None:
    code = f"""
import time
from tracker.agent import AgentProcess
from tracker.address import Address
from tracker.child import ChildProcess
from tracker.device import DeviceKey
child = ChildProcess({kind.command(tracker, str(KEY))}, ())
agent = AgentProcess.of(child, Address.parse("{tracker}"), DeviceKey.parse("{KEY}"))
print(agent.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        agent = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    assert wait_until(lambda: not psutil.pid_exists(agent))


def test_the_command_serves_until_it_is_interrupted(tracker: Address, kind: Kind) -> None:
    with subprocess.Popen(kind.command(tracker, str(KEY)), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"device {KEY} is registered with the tracker at {tracker}\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert wait_until(lambda: state_of(tracker, KEY) == "gone")


@pytest.mark.parametrize("key", ["rpi4", "rpi4:unit.1", "rpi4.", ".1", "a b.1"])
def test_a_wrong_key_ends_the_command_with_one_line(tracker: Address, kind: Kind, key: str) -> None:
    ended = subprocess.run(kind.command(tracker, key), capture_output=True, text=True, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "rpi4.unit-02" in ended.stderr


def test_cores_show_in_the_description(tracker: Address, kind: Kind) -> None:
    core = max(os.sched_getaffinity(0))
    with kind.start(tracker, KEY, "--cores", str(core)), Session.open(tracker, KEY) as session:
        assert session.describe().timing_cores == (core,)


def test_a_level_shows_in_the_description(tracker: Address) -> None:
    with AgentProcess.start(tracker, KEY, isa="x86-64-v2"), Session.open(tracker, KEY) as session:
        description = session.describe()
    assert not [name for name in description.features if name.startswith(("avx", "fma", "bmi"))]


def test_cores_that_do_not_exist_are_refused(tracker: Address, kind: Kind) -> None:
    with pytest.raises(TrackerError, match="choose from"):
        kind.start(tracker, KEY, "--cores", "4096")


def test_a_tracker_that_is_not_there_is_named(kind: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        nobody = Address("127.0.0.1", listening.getsockname()[1])
    with pytest.raises(TrackerError, match=f"{nobody}.*blinknet tracker"):
        kind.start(nobody, KEY)


def test_nothing_listens_on_other_interfaces_by_default(
    tracker: Address, agent: DeviceKey, kernels: Path
) -> None:
    with Session.open(tracker, agent) as session:
        assert isinstance(session.time_functions(kernels, [MATMUL])[0], Timing)
        ports = listening_ports()
    assert {(each.host, each.port) for each in (tracker, registered(tracker)[0].address)} <= ports
    assert {host for host, _ in ports} == {"127.0.0.1"}
