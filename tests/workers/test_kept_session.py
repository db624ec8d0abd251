import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tracker.models import DOUBLE, MATMUL, build_kernels
from tests.tracker.servers import state_of, wait_until
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.session import Session
from tracker.timing import Timing, TimingPolicy
from workers.build import Library
from workers.device import DeviceDriver
from workers.kept_session import SessionKeeper

POLICY = TimingPolicy(budget_s=0.02)
ARGUMENTS = {"matmul": MATMUL.arguments, "double": DOUBLE.arguments}


@pytest.fixture
def fresh(tracker: Address, device: DeviceKey) -> Callable[[], Session]:
    return lambda: Session.open(tracker, device)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    path = build_kernels(tmp_path_factory.mktemp("kernels") / "kernels.so")
    return Library(path.read_bytes(), {each: each for each in ARGUMENTS}, {})


def served(keeper: SessionKeeper, fresh: Callable[[], Session]) -> int:
    """The process on the device of the session that is lent."""
    with keeper.borrow(fresh) as session:
        return session.describe().pid


def test_work_that_follows_at_once_has_the_same_session(fresh):
    keeper = SessionKeeper(held_s=60.0, idle_s=60.0)
    pids = {served(keeper, fresh) for _ in range(3)}
    keeper.release()
    assert len(pids) == 1


def test_the_device_is_free_when_no_work_follows(fresh, tracker, device):
    keeper = SessionKeeper(held_s=60.0, idle_s=0.3)
    served(keeper, fresh)
    assert wait_until(lambda: state_of(tracker, device) == "free", 10.0)


def test_a_session_that_was_held_for_long_enough_is_not_kept(fresh, tracker, device):
    keeper = SessionKeeper(held_s=0.0, idle_s=60.0)
    first = served(keeper, fresh)
    assert wait_until(lambda: state_of(tracker, device) == "free", 10.0)
    assert served(keeper, fresh) != first


def test_a_session_that_died_while_it_was_kept_is_not_lent_again(fresh):
    keeper = SessionKeeper(held_s=60.0, idle_s=60.0)
    first = served(keeper, fresh)
    os.kill(first, signal.SIGKILL)
    second = served(keeper, fresh)
    keeper.release()
    assert second != first


def test_a_failure_frees_the_device_at_once(fresh, tracker, device):
    keeper = SessionKeeper(held_s=60.0, idle_s=60.0)
    with pytest.raises(ZeroDivisionError), keeper.borrow(fresh):
        1 / 0  # noqa: B018 (what matters is that it raises)
    assert wait_until(lambda: state_of(tracker, device) == "free", 10.0)


def test_batches_share_a_session_and_other_work_has_its_own(tracker, device, library, monkeypatch):
    opened: list[Session] = []

    def open_session(*arguments: object, **named: object) -> Session:
        opened.append(original(*arguments, **named))
        return opened[-1]

    original = Session.open
    monkeypatch.setattr(Session, "open", open_session)
    monkeypatch.setattr("workers.device.SessionKeeper", lambda: SessionKeeper(held_s=60.0, idle_s=60.0))
    driver = DeviceDriver(tracker, device)
    results = [driver.measure(library, ARGUMENTS, POLICY) for _ in range(3)]
    assert [[type(each) for each in result.timings.values()] for result in results] == [[Timing, Timing]] * 3
    assert len(opened) == 1
    assert isinstance(driver.describe(), Description)
    assert len(opened) == 2


def test_several_drivers_get_their_turns(tracker: Address, device: DeviceKey, library: Library):
    def drive(driver: DeviceDriver) -> list[object]:
        return [driver.measure(library, ARGUMENTS, POLICY).failure for _ in range(4)]

    drivers = [DeviceDriver(tracker, device) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(drive, drivers)) == [[None] * 4] * 3
