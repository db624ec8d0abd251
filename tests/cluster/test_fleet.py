"""Who is there and who has gone, on a real tracker."""

import os
from collections.abc import Iterator

import pytest

from cluster import embedded
from cluster.embedded import embedded_fleet, host_cores, level, local_classes
from cluster.embedded import timing_cores as cores_for
from cluster.errors import ClusterError
from cluster.fleet import POLLS_UNTIL_LOST, Fleet, this_host, timing_cores
from cluster.site import build_cores, survey
from tests.tracker.servers import wait_until
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.inventory import registered
from tracker.levels import LEVELS
from tracker.tracker import TrackerProcess

ONE, TWO, OTHER = DeviceKey("lab", "one"), DeviceKey("lab", "two"), DeviceKey("farm", "one")
NOTHING = (frozenset(), frozenset())


@pytest.fixture
def tracker() -> Iterator[TrackerProcess]:
    with TrackerProcess.start() as process:
        yield process


def polls(fleet: Fleet) -> list[tuple[frozenset[DeviceKey], frozenset[DeviceKey]]]:
    return [fleet.changes() for _ in range(POLLS_UNTIL_LOST)]


def test_devices_of_the_wanted_classes_come_and_go(tracker: TrackerProcess):
    fleet = Fleet(tracker.address, ["lab"])
    assert fleet.changes() == NOTHING
    with AgentProcess.start(tracker.address, OTHER), AgentProcess.start(tracker.address, ONE):
        assert fleet.present() == {ONE}
        assert fleet.changes() == ({ONE}, frozenset())
        assert fleet.changes() == NOTHING
        with AgentProcess.start(tracker.address, TWO):
            assert fleet.changes() == ({TWO}, frozenset())
        assert wait_until(lambda: fleet.present() == {ONE})
        assert polls(fleet) == [NOTHING, NOTHING, (frozenset(), {TWO})]
        assert fleet.changes() == NOTHING


def test_a_device_that_is_forgotten_joins_again_and_a_banned_one_does_not(tracker: TrackerProcess):
    fleet = Fleet(tracker.address, ["lab"])
    with AgentProcess.start(tracker.address, ONE):
        fleet.changes()
        fleet.forget(ONE)
        assert fleet.changes() == ({ONE}, frozenset())
        fleet.ban(ONE)
        assert polls(fleet) == [NOTHING] * POLLS_UNTIL_LOST
        assert fleet.present() == frozenset()


def test_a_tracker_that_restarts_loses_nobody(tracker: TrackerProcess):
    fleet = Fleet(tracker.address, ["lab"])
    with AgentProcess.start(tracker.address, ONE):
        fleet.changes()
        tracker.stop()
        assert [fleet.changes() for _ in range(POLLS_UNTIL_LOST - 1)] == [NOTHING] * (POLLS_UNTIL_LOST - 1)
        with TrackerProcess.start(port=tracker.address.port):
            assert wait_until(lambda: fleet.present() == {ONE})
            assert fleet.changes() == NOTHING


def test_a_tracker_that_stays_away_takes_its_devices_with_it(tracker: TrackerProcess):
    fleet = Fleet(tracker.address, ["lab"])
    with AgentProcess.start(tracker.address, ONE):
        fleet.changes()
        tracker.stop()
        assert polls(fleet)[-1] == (frozenset(), {ONE})
        with pytest.raises(TrackerError, match="no TVM tracker answers"):
            fleet.present()


def test_a_survey_asks_one_device_of_every_class(tracker: TrackerProcess):
    core = min(os.sched_getaffinity(0))
    with (
        AgentProcess.start(tracker.address, ONE, cores=[core]),
        AgentProcess.start(tracker.address, TWO),
        AgentProcess.start(tracker.address, OTHER, isa="x86-64-v2"),
    ):
        found = survey(Fleet(tracker.address, ["lab", "farm"]), 60.0)
        with pytest.raises(ClusterError, match=r"has no device of class nowhere; register one with"):
            survey(Fleet(tracker.address, ["lab", "nowhere"]), 60.0)
    assert set(found) == {"lab", "farm"}
    assert "avx2" not in found["farm"].features
    assert found["lab"].host == this_host()
    assert found["lab"].timing_cores == (core,)
    assert timing_cores(found["lab"]) == {f"{this_host()}/{core}"}
    assert core not in build_cores([found["lab"]]) or os.sched_getaffinity(0) == {core}


def test_an_embedded_fleet_is_one_device_a_class_off_the_host_s_cores():
    before = os.sched_getaffinity(0)
    classes = local_classes()[:1]
    with embedded_fleet(classes) as address:
        assert [each.device for each in registered(address)] == [DeviceKey(classes[0], embedded.UNIT)]
        found = survey(Fleet(address, classes), 60.0)[classes[0]]
        assert len(found.timing_cores) == 1
        assert os.sched_getaffinity(0).isdisjoint(found.timing_cores) or len(before) == 1
    assert os.sched_getaffinity(0) == before
    with pytest.raises(TrackerError):
        registered(address)


@pytest.mark.parametrize(
    ("available", "devices", "timed", "host"),
    [
        ({0}, 1, [0], (0,)),
        ({0, 1}, 1, [1], (0,)),
        ({0, 1}, 3, [1, 1, 1], (0,)),
        ({0, 1, 2, 3}, 3, [1, 2, 3], (0,)),
        ({2, 4, 6, 8}, 2, [6, 8], (2, 4)),
    ],
)
def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch, available, devices, timed, host):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: available)
    assert cores_for(devices) == timed
    assert host_cores(devices) == host


def test_this_machine_s_levels_are_the_oldest_ones():
    assert local_classes() == LEVELS[: len(local_classes())]
    assert [level(each) for each in LEVELS] == list(LEVELS)
    with pytest.raises(ClusterError, match="an embedded fleet has no class rpi4, only x86-64-v2"):
        level("rpi4")


def test_no_tracker_at_all():
    with pytest.raises(TrackerError, match="no TVM tracker answers at 127"):
        survey(Fleet(Address("127.0.0.1", 9), ["lab"]), 60.0)
