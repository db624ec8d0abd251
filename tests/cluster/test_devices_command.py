"""``blinknet devices`` with a real tracker and real agents."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.cli import main
from cluster.devices_command import Source, Watcher
from cost_model.device_event import DeviceEvent
from cost_model.fingerprint import fingerprint_of
from cost_model.store import Store
from tests.cluster.jobs import CommandLine
from tests.tracker.servers import state_of, stock_server, wait_until
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.session import Session
from tracker.tracker import TrackerProcess

ONE, TWO = DeviceKey("lab", "one"), DeviceKey("lab", "two")
FREE = ("free", "busy")


@pytest.fixture(scope="module")
def tracker() -> Iterator[Address]:
    with TrackerProcess.start() as process:
        yield process.address


@pytest.fixture
def one(tracker: Address) -> Iterator[AgentProcess]:
    with AgentProcess.start(tracker, ONE) as process:
        yield process


def states(watcher: Watcher) -> dict[str, str]:
    return {each.device: each.state for each in watcher.look()}


def test_agents_of_both_kinds_are_listed(
    tracker: Address, one: AgentProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    with stock_server(tracker, DeviceKey("lab", "stock")):
        assert main(["devices", "--tracker", str(tracker)]) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split()[:4] == ["class", "unit", "state", "arch"]
    assert (first.split()[:3], first.split()[-1]) == (["lab", "one", "free"], "blinknet")
    assert (second.split()[:3], second.split()[-1]) == (["lab", "stock", "free"], "stock")


def test_a_device_in_use_is_busy_and_nobody_waits_for_it(tracker: Address, one: AgentProcess) -> None:
    with Session.open(tracker, ONE):
        (row,) = Watcher(Source(tracker, None)).look()
        assert (row.state, row.architecture) == ("busy", "")


def test_a_frozen_device_is_a_row_with_the_reason(tracker: Address, one: AgentProcess) -> None:
    with AgentProcess.start(tracker, TWO) as frozen:
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            rows = {each.device: each for each in Watcher(Source(tracker, None)).look()}
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
    assert rows["lab.one"].architecture
    assert rows["lab.two"].problem


def test_devices_come_and_go_while_one_watches(tracker: Address, one: AgentProcess) -> None:
    watcher = Watcher(Source(tracker, None))
    assert states(watcher).keys() == {"lab.one"}
    with AgentProcess.start(tracker, TWO):
        assert states(watcher)["lab.two"] in FREE
    assert wait_until(lambda: state_of(tracker, TWO) == "gone")
    gone = {each.device: each for each in watcher.look()}["lab.two"]
    assert (gone.state, gone.agent) == ("lost", "blinknet")
    with AgentProcess.start(tracker, TWO):
        assert states(watcher)["lab.two"] in FREE


def test_the_store_s_story_is_told(tracker: Address, one: AgentProcess, tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with Store(path) as store:
        quarantined = DeviceEvent("lab.one", "quarantined", "3 sessions crashed", 1000.0)
        store.append_device_events([quarantined, DeviceEvent("lab.old", "joined", "", 1000.0)])
    old, row = Watcher(Source(tracker, path)).look()
    assert (row.state, row.reason) == ("quarantined", "3 sessions crashed")
    assert (old.device, old.state, old.seen_s) == ("lab.old", "lost", 1000.0)


def test_a_probe_measures_what_is_missing_and_keeps_it(
    tracker: Address, one: AgentProcess, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"
    Store(path).close()
    (row,) = Watcher(Source(tracker, path), probe=True).look()
    assert row.fingerprint is not None
    with Store(path, readonly=True) as store:
        (event,) = store.device_events("lab.one")
    assert fingerprint_of(event) == row.fingerprint
    (again,) = Watcher(Source(tracker, path), probe=True).look()
    assert again.fingerprint == row.fingerprint


def test_a_probe_beside_a_run_says_that_nothing_is_kept(
    tracker: Address, one: AgentProcess, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"
    with Store(path):
        watcher = Watcher(Source(tracker, path), probe=True)
        (row,) = watcher.look()
        (note,) = watcher.notes
    assert row.fingerprint is not None
    assert "shown but not kept" in note
    assert str(path) in note


def test_json_is_one_object_a_line(
    tracker: Address, one: AgentProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["devices", "--tracker", str(tracker), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["device"], json.loads(line)["state"]) == ("lab.one", "free")


def test_nobody_is_registered(tracker: Address, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--tracker", str(tracker)]) == 0
    assert "no device; `blinknet device --tracker" in capsys.readouterr().out


def lines(process: "subprocess.Popen[str]", holds: Callable[[str], bool]) -> str:
    assert process.stdout is not None
    return next(each for each in process.stdout if holds(each))


def test_watching_without_a_terminal_prints_what_is_new_until_ctrl_c(
    tracker: Address, one: AgentProcess
) -> None:
    process = CommandLine().start("devices", "--tracker", str(tracker), "--watch")
    try:
        assert "free" in lines(process, lambda line: line.startswith("lab.one"))
        with AgentProcess.start(tracker, TWO):
            lines(process, lambda line: line.startswith("lab.two"))
        assert "last seen" in lines(process, lambda line: "lab.two  lost" in line)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--store", "nowhere.sqlite"], "there is no store at nowhere.sqlite"),
        (["--run", "nowhere"], "nowhere is no run"),
        (["--tracker", "127.0.0.1:9"], "no TVM tracker answers at 127.0.0.1:9"),
        (["--tracker", "here"], "is not HOST:PORT"),
    ],
)
def test_what_is_not_there_is_named(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["devices", *arguments]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
