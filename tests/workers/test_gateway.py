"""Several devices driven from one process; that each is driven as by its own is in the contract."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.tracker.models import DOUBLE, SLEEP, build_kernels
from tests.tracker.servers import wait_until
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import Description, DeviceKey
from tracker.timing import Timing, TimingPolicy
from workers.build import Library
from workers.gateway import Gateway

PATIENT = TimingPolicy(budget_s=0.02, deadline_s=600.0)


@pytest.fixture
def other(tracker: Address) -> Iterator[DeviceKey]:
    with AgentProcess.start(tracker, DeviceKey("lab", "other")) as process:
        yield process.key


@pytest.fixture
def library(tmp_path: Path) -> Library:
    path = build_kernels(tmp_path / "kernels.so")
    return Library(path.read_bytes(), {"sleep": "sleep", "double": "double"}, {})


def sessions() -> int:
    """Children of this process's fork server."""
    servers = [each for each in psutil.Process().children() if "tracker.fork_server" in each.cmdline()]
    return sum(len(each.children()) for each in servers)


def test_a_device_that_hangs_holds_up_no_other_and_can_be_dismissed(
    tracker: Address, device: DeviceKey, other: DeviceKey, library: Library
):
    gateway = Gateway(tracker, 600.0)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(gateway.measure, device, library, {"sleep": SLEEP.arguments}, PATIENT)
        assert wait_until(lambda: sessions() == 1, 30.0)
        result = gateway.measure(other, library, {"double": DOUBLE.arguments}, PATIENT)
        assert isinstance(result.timings["double"], Timing)
        assert not hanging.done()
        gateway.dismiss(device)
        ended = hanging.result(60.0)
    assert ended.failure is not None
    assert dict(ended.timings) == {}
    assert wait_until(lambda: sessions() == 0)
    assert isinstance(gateway.describe(device), Description)


def test_dismissing_who_does_nothing_is_harmless(tracker: Address, device: DeviceKey):
    gateway = Gateway(tracker, 600.0)
    gateway.dismiss(device)
    assert isinstance(gateway.describe(device), Description)
    gateway.dismiss(device)
    assert isinstance(gateway.describe(device), Description)
