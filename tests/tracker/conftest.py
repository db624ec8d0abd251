import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracker.models import Model, build_kernels, build_model, build_pair
from tests.tracker.servers import AGENTS, PYTHON, STOCK, Kind, command_line, descendants, wait_until
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.edge_errors import MissingToolError
from tracker.forked import SessionProcesses, session_processes
from tracker.tracker import TrackerProcess


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The same contract for our agents, in Python, in C++ and emulated, and for TVM's own server."""
    asked = set(metafunc.fixturenames)
    stated = inspect.signature(metafunc.function).parameters
    if "device" in stated:
        kinds = (*AGENTS, STOCK)
    elif asked & {"agent", "own"} or "kind" in stated:
        kinds = AGENTS
    else:
        kinds = (PYTHON,)
    if "kind" in asked:
        metafunc.parametrize("kind", kinds, ids=[each.name for each in kinds], indirect=True, scope="session")


@pytest.fixture(autouse=True)
def no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends with the processes with which it began, the session's own fixtures aside."""
    request.getfixturevalue("processes")
    for name in ("tracker", "device", "agent"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
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
def kind(request: pytest.FixtureRequest, tracker: Address) -> Kind:
    """What serves the test's device; skips where a compiler or qemu is missing."""
    asked: Kind = request.param
    try:
        asked.command(tracker, "lab.none")
    except MissingToolError as error:
        pytest.skip(str(error))
    return asked


@pytest.fixture(scope="session")
def device(tracker: Address, kind: Kind) -> Iterator[DeviceKey]:
    """Any server."""
    key = DeviceKey("lab", kind.name)
    with kind.serve(tracker, key):
        yield key


@pytest.fixture(scope="session")
def agent(device: DeviceKey) -> DeviceKey:
    """One of our agents."""
    return device


@pytest.fixture(scope="session")
def kernels(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_kernels(tmp_path_factory.mktemp("kernels") / "kernels.so", kind.architecture)


@pytest.fixture(scope="session")
def model(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("model") / "model.so"
    return build_model(path, (100, 300, 10), architecture=kind.architecture)


@pytest.fixture(scope="session")
def pair(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two inputs, two outputs."""
    return build_pair(tmp_path_factory.mktemp("pair") / "pair.so", kind.architecture)
