import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from tests.tracker.servers import wait_until
from tracker.address import Address
from tracker.errors import TrackerError
from tracker.inventory import registered
from tracker.tracker import TrackerProcess
from tracker.wire import PUT, UPDATE_INFO, TrackerConnection


def test_a_tracker_starts_empty_and_stops_for_good() -> None:
    with TrackerProcess.start() as tracker:
        assert registered(tracker.address) == ()
    tracker.stop()
    with pytest.raises(TrackerError, match=rf"{tracker.address}.*blinknet tracker"):
        registered(tracker.address)


def test_a_port_that_is_taken_is_named(tracker: Address) -> None:
    with pytest.raises(TrackerError, match=f"{tracker}.*choose another port"):
        TrackerProcess.start(port=tracker.port)


def test_somebody_else_on_the_port_is_no_tracker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address("127.0.0.1", silent.getsockname()[1])
        with pytest.raises(TrackerError, match=f"no TVM tracker answers at {address}"):
            registered(address, timeout_s=0.2)


def test_foreign_servers_are_listed_and_have_no_device(tracker: Address) -> None:
    with TrackerConnection(tracker, 3.0) as server:
        server.call(UPDATE_INFO, {"key": "server:android", "addr": ["10.0.0.7", 9090]})
        server.call(PUT, "android", [9090, "android:0.5"], "10.0.0.7")
        (found,) = [each for each in registered(tracker) if each.key == "android"]
        assert (found.device, found.address, found.state) == (None, Address("10.0.0.7", 9090), "free")
    assert wait_until(lambda: all(each.key != "android" for each in registered(tracker)))


def test_a_tracker_dies_with_its_parent() -> None:
    code = """
import time
from tracker.tracker import TrackerProcess
tracker = TrackerProcess.start()
print(tracker.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        tracker = int(parent.stdout.readline())
        assert psutil.pid_exists(tracker)
        os.kill(parent.pid, signal.SIGKILL)
    assert wait_until(lambda: not psutil.pid_exists(tracker))
