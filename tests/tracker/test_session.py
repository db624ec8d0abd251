import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.tracker.models import DOUBLE, MATMUL, SLEEP, Model
from tests.tracker.servers import Kind, state_of, wait_until
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.failure import Failure, SessionFailed
from tracker.session import Session
from tracker.timing import Timing, TimingPolicy, TimingRequest


def test_it_describes_this_machine(tracker: Address, device: DeviceKey, kind: Kind) -> None:
    with Session.open(tracker, device) as session:
        description = session.describe()
    assert description.architecture == kind.architecture
    assert description.agent == ("blinknet" if kind.ours else "stock")
    assert description.emulated == bool(kind.cpu)
    assert description.timing_cores == tuple(sorted(os.sched_getaffinity(0)))
    assert description.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert description.cpu in (kind.cpu or Path("/proc/cpuinfo").read_text())
    assert description.host == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_it_times_functions_with_all_raw_repeats(tracker: Address, device: DeviceKey, kernels: Path) -> None:
    policy = TimingPolicy(max_repeats=30)
    with Session.open(tracker, device) as session:
        timings = session.time_functions(kernels, [MATMUL, DOUBLE, MATMUL], policy)
    assert [each.symbol for each in timings if isinstance(each, Timing)] == ["matmul", "double", "matmul"]
    for each in timings:
        assert isinstance(each, Timing)
        assert 1 <= len(each.seconds) <= 30
        assert min(each.seconds) > 0
        assert each.number > 1
        assert each.converged == policy.settled(each.seconds)


def test_a_function_that_is_missing_does_not_stop_the_others(
    tracker: Address, device: DeviceKey, kernels: Path
) -> None:
    with Session.open(tracker, device) as session:
        missing, found = session.time_functions(kernels, [TimingRequest("nothing", ()), MATMUL])
    assert missing == Failure("refused", "the library has no function nothing", str(device), "time nothing")
    assert isinstance(found, Timing)


def test_wrong_arguments_are_refused_and_the_device_stays(
    tracker: Address, device: DeviceKey, kernels: Path
) -> None:
    with Session.open(tracker, device) as session:
        wrong, skipped = session.time_functions(kernels, [TimingRequest("matmul", DOUBLE.arguments), MATMUL])
        assert isinstance(wrong, Failure)
        assert isinstance(skipped, Failure)
        assert (wrong.kind, skipped.kind) == ("refused", "skipped")
        with pytest.raises(SessionFailed) as raised:
            session.describe()
        assert raised.value.failure == wrong
    with Session.open(tracker, device) as session:
        assert isinstance(session.time_functions(kernels, [MATMUL])[0], Timing)


def test_results_arrive_one_by_one(tracker: Address, agent: DeviceKey, kernels: Path) -> None:
    with Session.open(tracker, agent) as session:
        results = session.stream_timings(kernels, [MATMUL, DOUBLE])
        assert isinstance(next(results), Timing)
        results.close()
        with pytest.raises(SessionFailed, match="not read to their end"):
            session.describe()


def test_a_function_that_hangs_costs_its_deadline_and_no_more(
    tracker: Address, agent: DeviceKey, kernels: Path
) -> None:
    with Session.open(tracker, agent) as session:
        results = session.time_functions(kernels, [MATMUL, SLEEP, MATMUL], TimingPolicy(deadline_s=2.0))
        kinds = [each.kind if isinstance(each, Failure) else "timed" for each in results]
    assert kinds == ["timed", "timeout", "skipped"]
    assert wait_until(lambda: state_of(tracker, agent) == "free")


def test_networks_predict_what_they_should(tracker: Address, device: DeviceKey, model: Model) -> None:
    inputs = np.random.default_rng(1).normal(size=(257, *model.input_shape)).astype(np.float32)
    with Session.open(tracker, device) as session:
        session.load_network(
            "net", model.library, model.parameters, [model.input_shape], [model.output_shape]
        )
        (outputs,) = session.predict("net", [inputs])
        (nothing,) = session.predict("net", [inputs[:0]])
    assert nothing.shape == (0, *model.output_shape)
    np.testing.assert_allclose(outputs, model(inputs), rtol=1e-4, atol=1e-5)


def test_networks_take_several_inputs_and_give_several_answers(
    tracker: Address, device: DeviceKey, pair: Path
) -> None:
    a, b = np.random.default_rng(2).normal(size=(2, 5, 3)).astype(np.float32)
    weight = np.array([[1, 2, 3]], np.float32)
    with Session.open(tracker, device) as session:
        session.load_network("pair", pair, [weight], [(3,), (3,)], [(3,), (3,)])
        seconds = session.time_networks(["pair"], rounds=1, repeats=2)
        total, product = session.predict("pair", [a, b])
    assert len(seconds["pair"]) == 2
    np.testing.assert_allclose(total, a + b, rtol=1e-6)
    np.testing.assert_allclose(product, b * weight, rtol=1e-6)


def test_networks_take_turns(tracker: Address, device: DeviceKey, model: Model) -> None:
    halved = [model.parameters[0] / 2, model.parameters[1]]
    inputs = np.ones((3, *model.input_shape), np.float32)
    with Session.open(tracker, device) as session:
        for name, parameters in (("whole", model.parameters), ("half", halved)):
            session.load_network(name, model.library, parameters, [model.input_shape], [model.output_shape])
        seconds = session.time_networks(["whole", "half"], rounds=3, repeats=4)
        (half,), (whole,) = (session.predict(name, [inputs]) for name in ("half", "whole"))
    np.testing.assert_allclose(half * 2, whole, 1e-5)
    assert {name: len(each) for name, each in seconds.items()} == {"whole": 12, "half": 12}
    assert min(min(each) for each in seconds.values()) > 0


def test_a_busy_device_is_waited_for(tracker: Address, device: DeviceKey) -> None:
    with Session.open(tracker, device) as first:
        with pytest.raises(SessionFailed) as raised:
            Session.open(tracker, device, deadline_s=0.5)
        assert raised.value.failure.kind == "busy"
        threading.Timer(0.5, first.close).start()
        with Session.open(tracker, device, deadline_s=20.0) as second:
            assert second.describe().pid > 0


def test_a_device_that_is_not_registered_is_a_failure_at_once(tracker: Address) -> None:
    with pytest.raises(SessionFailed, match="blinknet device --tracker") as raised:
        Session.open(tracker, DeviceKey("lab", "nobody"), deadline_s=3600)
    assert (raised.value.failure.kind, raised.value.failure.device) == ("unreachable", "lab.nobody")


def test_a_tracker_that_is_not_there_is_a_failure_at_once() -> None:
    with pytest.raises(SessionFailed, match="blinknet tracker") as raised:
        Session.open(Address("127.0.0.1", 1), DeviceKey("lab", "nobody"), deadline_s=3600)
    assert raised.value.failure.kind == "tracker"


def test_a_session_whose_own_process_dies_says_so(tracker: Address, agent: DeviceKey) -> None:
    with Session.open(tracker, agent) as session:
        os.kill(session.pid, signal.SIGKILL)
        with pytest.raises(SessionFailed) as raised:
            session.describe()
    assert raised.value.failure.kind == "crash"


def test_a_stopped_device_cannot_hold_a_session(tracker: Address, agent: DeviceKey) -> None:
    with Session.open(tracker, agent) as session:
        served = session.describe().pid
        os.kill(served, signal.SIGSTOP)
        with pytest.raises(SessionFailed) as raised:
            session.describe(deadline_s=0.5)
    assert raised.value.failure.kind == "timeout"
    assert wait_until(lambda: state_of(tracker, agent) == "free")


def test_it_works_from_any_folder(
    tracker: Address, agent: DeviceKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tracker.py").write_text("raise SystemExit('the wrong tracker')")
    monkeypatch.chdir(tmp_path)
    with Session.open(tracker, agent) as session:
        assert session.describe().agent == "blinknet"


def test_a_library_that_is_not_there_is_wrong_input(
    tracker: Address, agent: DeviceKey, tmp_path: Path
) -> None:
    with Session.open(tracker, agent) as session:
        with pytest.raises(TrackerError, match="build it first"):
            session.stream_timings(tmp_path / "none.so", [MATMUL])
        assert session.describe().pid > 0


def test_a_closed_session_stays_closed(tracker: Address, agent: DeviceKey) -> None:
    with Session.open(tracker, agent) as session:
        session.close()
    session.close()
    with pytest.raises(SessionFailed, match="closed"):
        session.describe()
