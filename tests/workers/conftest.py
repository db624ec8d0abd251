import os
from collections.abc import Iterator

import pytest

from tests.small_network import Small
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.tracker import TrackerProcess
from workers.accuracy import Bench


@pytest.fixture(scope="session")
def bench(small: Small) -> Bench:
    return Bench(small.known, small.samples)


@pytest.fixture(scope="session")
def tracker() -> Iterator[Address]:
    with TrackerProcess.start() as process:
        yield process.address


@pytest.fixture(scope="session")
def device(tracker: Address) -> Iterator[DeviceKey]:
    with AgentProcess.start(tracker, DeviceKey("lab", "one")) as process:
        yield process.key


@pytest.fixture
def affinity() -> Iterator[set[int]]:
    """The cores of this process, given back at the end."""
    before = os.sched_getaffinity(0)
    yield before
    os.sched_setaffinity(0, before)
