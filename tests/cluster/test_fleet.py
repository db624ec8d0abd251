"""Who is there and who has gone, on a real tracker."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import pytest

from cluster import embedded
from cluster.embedded import embedded_fleet, host_cores, level, local_classes
from cluster.embedded import timing_cores as cores_for
from cluster.errors import ClusterError
from cluster.fleet import (
    FIRST_QUARANTINE_S,
    LONGEST_QUARANTINE_S,
    LOOKS_UNTIL_LOST,
    SILENT,
    UNREGISTERED,
    Changes,
    Fleet,
    Sight,
    this_host,
    timing_cores,
)
from cluster.job import target_of
from cluster.settings import DeviceSettings
from cluster.site import build_cores
from cluster.survey import survey
from tests.tracker.servers import wait_until
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.edge_errors import MissingToolError
from tracker.errors import TrackerError
from tracker.inventory import registered
from tracker.levels import LEVELS
from tracker.liveness import SILENCES
from tracker.tracker import TrackerProcess

ONE, TWO, OTHER = DeviceKey("lab", "one"), DeviceKey("lab", "two"), DeviceKey("farm", "one")
NOTHING = Changes()
PLACE = Address("127.0.0.1", 9)


@pytest.fixture
def tracker() -> Iterator[TrackerProcess]:
    with TrackerProcess.start() as process:
        yield process


def look(fleet: Fleet) -> Changes:
    return fleet.changes(fleet.look())


def looks(fleet: Fleet, count: int = LOOKS_UNTIL_LOST) -> list[Changes]:
    return [look(fleet) for _ in range(count)]


def joined(*keys: DeviceKey) -> Changes:
    return Changes(frozenset(keys))


def seen(*keys: DeviceKey, answered: Iterable[DeviceKey] = (), silent: Iterable[DeviceKey] = ()) -> Sight:
    return Sight(dict.fromkeys(keys, PLACE), frozenset(answered), frozenset(silent))


def test_devices_of_the_wanted_classes_come_and_go(tracker: TrackerProcess):
    fleet = Fleet(tracker.address, ["lab"])
    assert look(fleet) == NOTHING
    with AgentProcess.start(tracker.address, OTHER), AgentProcess.start(tracker.address, ONE):
        assert fleet.present().keys() == {ONE}
        assert look(fleet) == joined(ONE)
        assert look(fleet) == NOTHING
        with AgentProcess.start(tracker.address, TWO):
            assert look(fleet) == joined(TWO)
        assert wait_until(lambda: fleet.present().keys() == {ONE})
        assert looks(fleet) == [NOTHING, NOTHING, Changes(lost={TWO: UNREGISTERED})]
        assert look(fleet) == NOTHING


def test_a_device_may_return_and_a_banned_one_may_not():
    fleet = Fleet(PLACE, ["lab"])
    assert fleet.changes(seen(ONE)) == joined(ONE)
    fleet.let_return(ONE)
    assert fleet.changes(seen(ONE)) == joined(ONE)
    fleet.ban(ONE)
    assert [fleet.changes(seen(ONE)) for _ in range(LOOKS_UNTIL_LOST)] == [NOTHING] * LOOKS_UNTIL_LOST


def test_a_tracker_that_is_away_loses_nobody(tracker: TrackerProcess):
    fleet = Fleet(tracker.address, ["lab"])
    with AgentProcess.start(tracker.address, ONE):
        look(fleet)
        tracker.stop()
        assert looks(fleet, 2 * LOOKS_UNTIL_LOST) == [NOTHING] * (2 * LOOKS_UNTIL_LOST)
        assert fleet.tracker_away_s > 0
        with pytest.raises(TrackerError, match="no TVM tracker answers"):
            fleet.present()
        with TrackerProcess.start(port=tracker.address.port):
            assert look(fleet) == NOTHING
            assert fleet.tracker_away_s == 0
            assert wait_until(lambda: fleet.present().keys() == {ONE})
            assert look(fleet) == NOTHING


def test_a_frozen_device_is_lost_and_joins_when_it_thaws(tracker: TrackerProcess):
    fleet = Fleet(tracker.address, ["lab"])
    with AgentProcess.start(tracker.address, ONE) as agent:
        assert look(fleet) == joined(ONE)
        fleet.listen_to(ONE)
        assert look(fleet) == NOTHING
        os.kill(agent.pid, signal.SIGSTOP)
        try:
            assert looks(fleet, SILENCES)[-1] == Changes(lost={ONE: SILENT})
            assert look(fleet) == NOTHING
        finally:
            os.kill(agent.pid, signal.SIGCONT)
        assert wait_until(lambda: look(fleet) == joined(ONE))


def test_a_device_that_was_never_heard_is_not_missed_for_its_silence():
    fleet = Fleet(PLACE, ["lab"])
    fleet.changes(seen(ONE))
    assert [fleet.changes(seen(ONE, silent=[ONE])) for _ in range(9)] == [NOTHING] * 9
    fleet.changes(seen(ONE, answered=[ONE]))
    fleet.let_return(ONE, heard=True)
    assert fleet.changes(seen(ONE)) == NOTHING
    assert fleet.changes(seen(ONE, answered=[ONE])) == joined(ONE)


def test_a_device_is_heard_before_it_joins(tracker: TrackerProcess):
    with AgentProcess.start(tracker.address, ONE) as agent:
        fleet = Fleet(tracker.address, ["lab"])
        sight = fleet.look()
        assert sight.answered == {ONE}
        assert fleet.changes(sight) == joined(ONE)
        fleet.listen_to(ONE)
        os.kill(agent.pid, signal.SIGSTOP)
        try:
            changes = [fleet.changes(fleet.look()) for _ in range(SILENCES)]
        finally:
            os.kill(agent.pid, signal.SIGCONT)
    assert changes[-1].lost == {ONE: SILENT}


def test_a_quarantine_ends_and_each_is_longer():
    now = [0.0]
    fleet = Fleet(PLACE, ["lab"], clock=lambda: now[0])
    assert fleet.changes(seen(ONE)) == joined(ONE)
    assert not fleet.pardon(ONE)
    for seconds in (FIRST_QUARANTINE_S, 2 * FIRST_QUARANTINE_S):
        assert fleet.quarantine(ONE) == seconds
        assert fleet.changes(seen(ONE)) == NOTHING
        now[0] += seconds
        assert fleet.changes(seen(ONE)) == joined(ONE)
        assert fleet.pardon(ONE)
        assert not fleet.pardon(ONE)
    assert max(fleet.quarantine(ONE) for _ in range(20)) == LONGEST_QUARANTINE_S


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


def test_a_survey_waits_for_a_board_that_comes_back(tracker: TrackerProcess):
    with ExitStack() as stack:
        told: list[str] = []

        def tell(text: str) -> None:
            told.append(text)
            stack.enter_context(AgentProcess.start(tracker.address, OTHER))

        found = survey(Fleet(tracker.address, ["farm"]), 60.0, 60.0, tell)
    assert set(found) == {"farm"}
    assert told == ["waiting up to 60 s for a device of class farm"]


def test_a_survey_passes_over_a_frozen_board(tracker: TrackerProcess):
    with AgentProcess.start(tracker.address, ONE) as frozen, AgentProcess.start(tracker.address, TWO):
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            assert set(survey(Fleet(tracker.address, ["lab"]), 60.0)) == {"lab"}
        finally:
            os.kill(frozen.pid, signal.SIGCONT)


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


def test_a_class_named_like_an_emulated_processor_gets_an_emulated_device():
    try:
        with embedded_fleet(["cortex-a76"]) as address:
            descriptions = survey(Fleet(address, ["cortex-a76"]), 60.0)
    except MissingToolError as error:
        pytest.skip(str(error))
    description = descriptions["cortex-a76"]
    assert (description.architecture, description.emulated) == ("aarch64", True)
    target = target_of(DeviceSettings(bounds={"latency": "50%"}), description)
    assert (target.isa.name, target.emulated) == ("aarch64_dotprod", True)


def test_no_tracker_at_all():
    with pytest.raises(TrackerError, match="no TVM tracker answers at 127"):
        survey(Fleet(Address("127.0.0.1", 9), ["lab"]), 60.0)
