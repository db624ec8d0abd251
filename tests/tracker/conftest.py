from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracker.models import Model, build_kernels, build_model
from tests.tracker.servers import command_line, descendants, stock_server, wait_until
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.forked import SessionProcesses, session_processes
from tracker.tracker import TrackerProcess


@pytest.fixture(autouse=True)
def no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends with the processes with which it began, the session's own fixtures aside."""
    request.getfixturevalue("processes")
    for name in ("tracker", "agent", "stock"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    if "device" in request.fixturenames:
        request.getfixturevalue("device")
    before = descendants()
    yield
    assert wait_until(lambda: not new_since(before), 5.0), new_since(before)


def new_since(before: set[int]) -> list[list[str]]:
    """Command lines of further descendants; a fork server may have been replaced."""
    commands = [line for pid in descendants() - before if (line := command_line(pid))]
    servers = [each for each in commands if "tracker.fork_server" in each]
    return [each for each in commands if each not in servers] + servers[1:]


@pytest.fixture(scope="session")
def processes() -> SessionProcesses:
    """This process's own, with its fork server."""
    process, connection = session_processes.start()
    process.kill()
    connection.close()
    return session_processes


@pytest.fixture(scope="session")
def tracker() -> Iterator[Address]:
    with TrackerProcess.start() as process:
        yield process.address


@pytest.fixture(scope="session")
def agent(tracker: Address) -> Iterator[DeviceKey]:
    with AgentProcess.start(tracker, DeviceKey("lab", "agent")) as process:
        yield process.key


@pytest.fixture(scope="session")
def stock(tracker: Address) -> Iterator[DeviceKey]:
    key = DeviceKey("lab", "stock")
    with stock_server(tracker, key):
        yield key


@pytest.fixture(scope="session", params=["agent", "stock"])
def device(request: pytest.FixtureRequest) -> DeviceKey:
    """The same contract holds for our agent and for TVM's own server."""
    key = request.getfixturevalue(request.param)
    assert isinstance(key, DeviceKey)
    return key


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_kernels(tmp_path_factory.mktemp("kernels") / "kernels.so")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return build_model(tmp_path_factory.mktemp("model") / "model.so", (100, 300, 10))
