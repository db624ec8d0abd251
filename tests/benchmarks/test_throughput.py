import json
import os
from contextlib import closing
from dataclasses import replace

import pytest

from benchmarks.metaschedule_rival import Effort, Way, default_effort, rivals
from benchmarks.throughput_contest import equal_effort
from benchmarks.throughput_fleet import ClassWork, class_work, fleet, shares, spread
from benchmarks.throughput_ours import Ours, Pass, warm_up
from benchmarks.throughput_report import Contender, Evidence, core_share, figures, mean_effort, medians, table
from benchmarks.throughput_scaling import scaling
from cluster import crew as ray_crew
from cluster.crew import Crew
from cluster.embedded import timing_cores
from cluster.tables import console
from tracker.device import DeviceKey
from tracker.timing import Timing

ONE, TWO, THREE = (DeviceKey("lab", name) for name in ("one", "two", "three"))
TIMING = Timing("f", 10, (1e-3, 3e-3, 2e-3), converged=True)
MEDIANS = {(ONE, "a"): 1.0, (ONE, "b"): 2.0, (TWO, "a"): 3.0}
OURS = Contender("BlinkNet", "6 repeats", (2.0, 1.0, 4.0), MEDIANS)
SLOW = Contender("RPCRunner, slow", "6 repeats", (20.0, 9.0, 44.0), MEDIANS)
FAST = replace(
    SLOW, name="RPCRunner, fast", seconds=(10.0, 8.0, 12.0), medians={(ONE, "a"): 1.5, (ONE, "b"): 2.4}
)
DEFAULT = replace(SLOW, name="RPCRunner, defaults", seconds=(60.0, 30.0))
EVIDENCE = Evidence(
    kernels=40,
    ours=OURS,
    equal=(SLOW, FAST),
    default=(DEFAULT,),
    our_building_s=(5.0, 4.0, 6.0),
    their_building_s=30.0,
    busy_shares=(0.7, 0.9, 0.8),
    executing_shares=(0.8, 0.95, 0.9),
    alone=MEDIANS,
    together={key: 1.02 * value for key, value in MEDIANS.items()},
)


def test_the_last_line_holds_us_against_the_fastest_way_to_use_the_rival():
    told = json.loads(json.dumps(figures(EVIDENCE)))
    assert told["variants_per_s"] == 20.0
    assert told["speedup_vs_rpcrunner"] == 5.0  # Of 5, 8 and 3: round by round.
    assert told["speedup_vs_rpcrunner_defaults"] == 30.0
    assert told["speedup_with_building"] == (30.0 + 10.0) / 5.0
    assert told["variants_per_s_with_building"] == 8.0
    assert (told["device_busy_share"], told["device_executing_share"]) == (0.8, 0.9)
    assert told["inflation"] == pytest.approx(1.02)
    assert told["rpcrunner_inflation"] == pytest.approx((1.5 + 1.2) / 2)
    assert told["rpcrunner"]["equal effort"] == "RPCRunner, fast"


def test_people_see_every_contender(capsys):
    console().print(table(EVIDENCE))
    rows = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith(("BlinkNet", "RPCRunner"))
    ]
    assert len(rows) == 4
    assert "5.0 x" in next(line for line in rows if "fast" in line)


def test_a_core_is_busy_with_the_timed_calls_of_all_its_devices():
    one = Pass(0.5, 0.5, {ONE: {"a": TIMING, "b": TIMING}, TWO: {"a": TIMING}, THREE: {}})
    shared, own = frozenset({"host/1"}), frozenset({"host/2"})
    assert one.count == 3
    assert core_share(one, one.timed_s, {ONE: shared, TWO: shared}) == pytest.approx(3 * 10 * 6e-3 / 0.5)
    assert core_share(one, one.timed_s, {ONE: shared, TWO: own}) == pytest.approx(
        (2 + 1) / 2 * 10 * 6e-3 / 0.5
    )
    assert core_share(one, one.timed_s, {ONE: shared, THREE: own}) == pytest.approx(1 * 10 * 6e-3 / 0.5)


def test_a_device_also_executes_what_does_not_count():
    once = replace(TIMING, number=1)
    one = Pass(0.5, 0.5, {ONE: {"a": TIMING}, TWO: {"a": once}})
    assert one.executed_s(ONE) == pytest.approx(one.timed_s(ONE) + 4 * 2e-3)
    assert one.executed_s(TWO) == pytest.approx(6e-3 + 2 * 2e-3)
    assert one.executed_s(THREE) == 0.0


def test_effort_and_medians_are_over_all_passes():
    calm = replace(TIMING, seconds=(1e-3,), number=1)
    passes = [Pass(1.0, 1.0, {ONE: {"a": each}}) for each in (TIMING, calm, calm)]
    assert mean_effort(passes) == pytest.approx((5 / 3, (60e-3 + 2e-3) / 3))
    assert medians(passes) == {(ONE, "a"): 1e-3}


def test_kernels_are_spread_and_shared_without_a_rest():
    keys = [str(index) for index in range(100)]
    assert spread(keys, 4) == ["0", "25", "50", "75"]
    assert spread(keys[:3], 4) == keys[:3]
    work = {"lab": ClassWork(None, dict.fromkeys("abcde"))}
    assert shares(work, [ONE, TWO]) == {ONE: ("a", "c", "e"), TWO: ("b", "d")}


def test_both_time_the_same_kernels_on_the_same_devices():
    with fleet(timing_cores(2)) as (tracker, keys):
        ray_crew.connect()
        with closing(Crew(tracker, 60.0)) as crew:
            said = warm_up(crew, keys)
            work = class_work(["cifar10_quick"], ["int8"], said, 2)
            first = Ours(crew, said, work, sorted(os.sched_getaffinity(0))).measure(keys)
            given = shares(work, keys)
            with rivals(tracker, work, given, ["default", "shared"], [1], 1) as them:
                theirs = [them.run(Way(each, 1), Effort(1, 3, 0)) for each in ("default", "shared")]
    asked = {(device, request) for device, requests in given.items() for request in requests}
    assert medians([first]).keys() == asked
    assert first.count == len(asked) == 4
    for seconds, found in theirs:
        assert found.keys() == asked
        assert seconds > 0
        assert min(found.values()) > 0


def test_the_rival_s_effort_is_tvm_s_own_or_as_many_repeats_as_ours():
    assert default_effort() == Effort(3, 1, 100)
    passes = Pass(1.0, 1.0, {ONE: {"a": TIMING, "b": replace(TIMING, seconds=(1e-3,) * 8)}})
    assert equal_effort(passes) == Effort(1, 6, 1)
    assert Way("default", 2, own_effort=True).name != Way("default", 2).name


def test_waiting_devices_wait_together():
    assert scaling(2, sorted(timing_cores(1)), kernels=2, batches=1, rounds=1) > 0
