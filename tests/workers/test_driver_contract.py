"""What a device's driver promises, of the real one on a real device and of the simulated one alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pytest

from cost_model.measurement import Measurement
from network.target import Target
from tests.small_network import Small
from tests.tracker.models import DIE, DOUBLE, MATMUL, build_kernels
from tests.workers.test_build import assembled
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.failure import Failure
from tracker.timing import FEWEST_REPEATS, Timing, TimingPolicy
from workers.build import RUNS_A_TURN, ClockedLibrary, Executable, Library, assemble_profile
from workers.device import PROFILE_SESSIONS, BatchResult, DeviceDriver, RunResult
from workers.gateway import Gateway
from workers.profile import ProfileResult
from workers.simulated_device import Faults, SimulatedDevice
from workers.simulated_times import DrawnTimes, RecordedTimes

POLICY = TimingPolicy(budget_s=0.02, deadline_s=2.0)
ARGUMENTS = {"matmul": MATMUL.arguments, "die": DIE.arguments, "double": DOUBLE.arguments, "missing": ()}
RECORDED = {
    each: Measurement(each, "lab", "t", "v", "lab.one", 100, (1e-5,) * FEWEST_REPEATS, converged=True)
    for each in ARGUMENTS
}


@dataclass(frozen=True)
class Drivers:
    """One of a device that works, one of a device that is not there."""

    present: DeviceDriver | SimulatedDevice | Seat
    absent: DeviceDriver | SimulatedDevice | Seat


def _real(request: pytest.FixtureRequest) -> Drivers:
    tracker: Address = request.getfixturevalue("tracker")
    present: DeviceKey = request.getfixturevalue("device")
    return Drivers(DeviceDriver(tracker, present), DeviceDriver(tracker, DeviceKey("lab", "nobody")))


def _simulated(times: DrawnTimes | RecordedTimes) -> Drivers:
    faults = Faults(deadly=frozenset({"die"}), refused=frozenset({"missing"}))
    return Drivers(
        SimulatedDevice(DeviceKey("lab", "one"), times, Random(1), faults),
        SimulatedDevice(DeviceKey("lab", "nobody"), times, Random(2), faults, online=False),
    )


@dataclass(frozen=True)
class Seat:
    """One device of a gateway."""

    gateway: Gateway
    key: DeviceKey

    def describe(self) -> Description | Failure:
        return self.gateway.describe(self.key)

    def measure(self, *work: Any) -> BatchResult:
        return self.gateway.measure(self.key, *work)

    def run(self, *work: Any) -> RunResult | Failure:
        return self.gateway.run(self.key, *work)

    def profile(self, *work: Any) -> ProfileResult | Failure:
        return self.gateway.profile(self.key, *work)


def _gateway(request: pytest.FixtureRequest) -> Drivers:
    gateway = Gateway(request.getfixturevalue("tracker"), 60.0)
    return Drivers(
        Seat(gateway, request.getfixturevalue("device")), Seat(gateway, DeviceKey("lab", "nobody"))
    )


def _recorded(request: pytest.FixtureRequest) -> dict[str, Measurement]:
    """With the kernels of the small network."""
    (network, _) = profiled(request.getfixturevalue("small")).networks
    keys = (key for *_, key in network.places)
    return RECORDED | {each: replace(RECORDED["matmul"], kernel=each) for each in keys}


KINDS: dict[str, Callable[[pytest.FixtureRequest], Drivers]] = {
    "real": _real,
    "gateway": _gateway,
    "drawn": lambda _: _simulated(DrawnTimes(seed=1)),
    "recorded": lambda request: _simulated(RecordedTimes(_recorded(request), (1e-4,))),
}


@pytest.fixture(params=KINDS)
def drivers(request: pytest.FixtureRequest) -> Drivers:
    return KINDS[request.param](request)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    path = build_kernels(tmp_path_factory.mktemp("contract") / "kernels.so")
    return Library(path.read_bytes(), {each: each for each in ARGUMENTS}, {})


def measure(driver: DeviceDriver | SimulatedDevice | Seat, library: Library, *requests: str) -> BatchResult:
    return driver.measure(library, {each: ARGUMENTS[each] for each in requests}, POLICY)


def test_it_says_what_the_device_is(drivers: Drivers):
    described = drivers.present.describe()
    assert isinstance(described, Description)
    assert described.timing_cores


def test_every_request_gets_a_result_in_order_and_no_other_does(drivers: Drivers, library: Library):
    result = measure(drivers.present, library, "double", "matmul")
    assert (result.culprit, result.failure) == (None, None)
    assert list(result.timings) == ["double", "matmul"]
    for request, timing in result.timings.items():
        assert isinstance(timing, Timing)
        assert timing.symbol == library.symbols[request]
        assert timing.seconds
        assert min(timing.seconds) > 0
        assert timing.number >= 1


def test_who_ends_the_session_is_named_and_what_came_before_is_kept(drivers: Drivers, library: Library):
    result = measure(drivers.present, library, "matmul", "die", "double")
    assert list(result.timings) == ["matmul"]
    assert result.culprit == "die"
    assert result.failure is not None
    assert (result.failure.kind, result.failure.device) == ("crash", "lab.one")
    after = measure(drivers.present, library, "double")
    assert isinstance(after.timings["double"], Timing)


def test_a_refusal_is_a_result(drivers: Drivers, library: Library):
    result = measure(drivers.present, library, "missing", "double")
    refused = result.timings["missing"]
    assert isinstance(refused, Failure)
    assert (refused.kind, refused.device) == ("refused", "lab.one")
    assert (result.culprit, result.failure) == (None, None)
    assert isinstance(result.timings["double"], Timing)


def test_a_configuration_gives_times_beside_the_exact_one_and_answers(drivers: Drivers, small: Small):
    exact = assembled(small, "exact f32>f32")
    result = drivers.present.run(exact, exact, small.samples.inputs, [(4,)], 15)
    assert isinstance(result, RunResult)
    assert len(result.seconds) == len(result.exact_seconds) >= 15
    assert min(*result.seconds, *result.exact_seconds) > 0
    assert result.peak_bytes >= exact.parameter_bytes
    assert [each.shape for each in result.answers] == [(len(small.samples.x), 4)]
    assert result.answers[0].dtype == np.float32


def test_every_kernel_of_a_configuration_has_seconds_at_its_place(drivers: Drivers, small: Small):
    library = profiled(small)
    result = drivers.present.profile(library)
    assert isinstance(result, ProfileResult)
    assert len(result.networks) == 2
    for network, clocked in zip(result.networks, library.networks, strict=True):
        assert tuple((each.layer, each.step, each.request) for each in network.kernels) == clocked.places
        assert {len(each.seconds) for each in network.kernels} == {PROFILE_SESSIONS * RUNS_A_TURN}
        assert sum(sum(each.seconds) for each in network.kernels) > 0
        assert min(network.clock_s, network.rest_s) >= 0


def profiled(small: Small) -> ClockedLibrary:
    """The exact configuration twice."""
    target = Target.host()
    kernels = {layer: small.known.alone(layer, "exact").kernels for layer in small.layers}
    chosen = {
        layer: [(each, each.tiles(target.isa)[0]) for each in several] for layer, several in kernels.items()
    }
    return assemble_profile(small.network, [chosen, chosen], target, ())


def test_a_device_that_is_not_there_is_a_failure(drivers: Drivers, library: Library):
    nothing = Executable(library.content, (), 0, 0)
    measured = measure(drivers.absent, library, "double")
    ran = drivers.absent.run(nothing, nothing, [np.zeros((1, 1, 1, 1), np.float32)], [(4,)], 1)
    profile = drivers.absent.profile(ClockedLibrary(library.content, ()))
    for each in (drivers.absent.describe(), measured.failure, ran, profile):
        assert isinstance(each, Failure)
        assert (each.kind, each.device) == ("unreachable", "lab.nobody")
    assert (dict(measured.timings), measured.culprit) == ({}, None)
