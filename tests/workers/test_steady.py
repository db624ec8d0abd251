"""Batches on a session whose speed is made up, and on a real device."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from network.target import Target
from tests.small_network import Small
from tests.workers.test_build import requests
from tracker.address import Address
from tracker.cooling import Cooling
from tracker.device import Description, DeviceKey
from tracker.drift import DriftPolicy
from tracker.failure import Failure
from tracker.timing import Timing, TimingPolicy, TimingRequest
from workers.build import Library, build
from workers.device import DeviceDriver
from workers.steady import Hygiene, SteadyBatch

HERE = Description("x86_64", "", (), 1, 1, 2.4e9, None, "host", (0,), 1, "blinknet")
NAMES = ("a", "b", "c", "d")
LIBRARY = Library(b"", {each: each for each in NAMES}, {}, TimingRequest("reference", ()))
ARGUMENTS = dict.fromkeys(NAMES, ())
HYGIENE = Hygiene(DriftPolicy(share=0.1, every=2), Cooling())
POLICY = TimingPolicy()


class Moody:
    """A session on a device that takes ``slowness[n]`` times as long at the n-th call of anything."""

    def __init__(
        self, slowness: Sequence[float], deadly: str | None = None, refused: str | None = None
    ) -> None:
        self._slowness = list(slowness)
        self._deadly = deadly
        self._refused = refused
        self.calls: list[str] = []
        self.description = HERE

    def stream_timings(
        self, path: Path, wanted: Sequence[TimingRequest], policy: TimingPolicy
    ) -> Iterator[Timing | Failure]:
        for request in wanted:
            factor = self._slowness[min(len(self.calls), len(self._slowness) - 1)]
            self.calls.append(request.symbol)
            if request.symbol == self._deadly:
                yield Failure("crash", "it died", "lab.one", request.symbol)
            elif request.symbol == self._refused:
                yield Failure("refused", "no memory left", "lab.one", request.symbol)
            else:
                yield Timing(request.symbol, 1, (factor * 1e-3,) * 6, converged=True)

    def time_functions(self, *arguments: object) -> list[Timing | Failure]:
        return list(self.stream_timings(*arguments))  # type: ignore[arg-type]

    def describe(self) -> Description:
        return self.description


def play(session: Moody, description: Description = HERE, library: Library = LIBRARY) -> SteadyBatch:
    batch = SteadyBatch(library, ARGUMENTS, POLICY, HYGIENE)
    batch.take(session, Path("kernels.so"), description)  # type: ignore[arg-type]
    return batch


def median_ms(batch: SteadyBatch, name: str) -> float:
    timing = batch.timings[name]
    assert isinstance(timing, Timing)
    return 1e3 * timing.median_s


def conditions(batch: SteadyBatch, name: str) -> dict[str, float]:
    timing = batch.timings[name]
    assert isinstance(timing, Timing)
    return dict(timing.conditions)


def test_a_steady_device_is_measured_once() -> None:
    session = Moody([1.0])
    batch = play(session)
    assert session.calls == ["reference", "a", "b", "reference", "c", "d", "reference"]
    assert batch.result().drift is None
    assert conditions(batch, "a") == {"reference_s": pytest.approx(1e-3), "clock_hz": 2.4e9}


def test_what_a_session_refused_is_taken_once_more_in_another() -> None:
    batch = play(Moody([1.0], refused="b"))
    assert batch.doubtful() == ("b",)
    assert set(batch.timings) == {"a", "c", "d"}
    other = Moody([1.0])
    batch.take(other, Path("kernels.so"), HERE, ("b",))  # type: ignore[arg-type]
    assert other.calls == ["reference", "b", "reference"]
    assert set(batch.timings) == set(NAMES)
    assert batch.doubtful() == ()


def test_nothing_is_known_of_what_was_refused_in_a_session_that_died() -> None:
    batch = play(Moody([1.0], deadly="c", refused="b"))
    assert batch.doubtful() == ()
    assert (set(batch.timings), batch.result().culprit) == ({"a"}, "c")


def test_what_lies_between_two_readings_that_differ_is_measured_again() -> None:
    # The second reading is disturbed; the one behind the repetition is as before.
    session = Moody([1, 1, 1, 1.2, 1, 1, 1, 1])
    batch = play(session)
    again = ["reference", "a", "b", "reference", "a", "b", "reference", "c", "d", "reference"]
    assert session.calls == again
    assert median_ms(batch, "a") == pytest.approx(1.0)
    assert "drift" not in conditions(batch, "a")
    assert batch.result().drift is None


def test_a_device_that_stays_slow_is_corrected_and_flagged() -> None:
    session = Moody([1, 1, 1, 1.5])
    batch = play(session)
    assert session.calls.count("a") == 2
    assert session.calls.count("c") == 1, "it is as slow before as after"
    for name in NAMES:
        assert median_ms(batch, name) == pytest.approx(1.0)
        assert conditions(batch, name)["drift"] == pytest.approx(0.5)
    drift = batch.result().drift
    assert drift is not None
    assert (drift.share, drift.requests) == (pytest.approx(0.5), 4)
    assert (drift.first_s, drift.reference_s) == (pytest.approx(1e-3), pytest.approx(1.5e-3))


def test_a_session_that_dies_in_a_repetition_keeps_what_was_measured() -> None:
    session = Moody([1, 1, 1, 2, 2])
    fatal = session.stream_timings

    def dies(path: Path, wanted: Sequence[TimingRequest], policy: TimingPolicy) -> Iterator[Timing | Failure]:
        session._deadly = "b" if "b" in session.calls else None
        return fatal(path, wanted, policy)

    session.stream_timings = dies  # type: ignore[method-assign]
    result = play(session).result()
    assert result.culprit == "b"
    assert result.failure is not None
    assert sorted(result.timings) == ["a", "b"]


def test_the_reference_s_death_blames_no_request() -> None:
    result = play(Moody([1], deadly="reference")).result()
    assert (dict(result.timings), result.culprit) == ({}, None)
    assert result.failure is not None


def test_a_library_without_a_reference_is_measured_as_it_is() -> None:
    session = Moody([1, 2, 3, 4])
    batch = play(session, library=replace(LIBRARY, reference=None))
    assert session.calls == list(NAMES)
    assert conditions(batch, "d") == {"clock_hz": 2.4e9}


def test_temperatures_are_noted_and_what_is_too_hot_is_flagged() -> None:
    session = Moody([1])
    session.description = replace(HERE, temperature_c=78.0)
    warm = play(session, replace(HERE, temperature_c=70.0))
    assert conditions(warm, "a")["temperature_c"] == 78.0
    assert "hot" not in conditions(warm, "a")
    hot = play(session, replace(HERE, temperature_c=85.0))
    assert conditions(hot, "d")["hot"] == 1.0


class Hot(DeviceDriver):
    """A driver whose device is too hot at the first look."""

    looks = 0

    def _temperature_c(self) -> float | None:
        self.looks += 1
        return 60.0


def test_a_real_device_tells_its_reference(small: Small, tracker: Address, device: DeviceKey) -> None:
    wanted = dict(list(requests(small).items())[:3])
    library = build(list(wanted.values()), Target.host(), ())
    assert library.reference is not None
    assert library.reference.symbol not in library.symbols.values()
    specs = {key: kernel.arguments(Target.host().isa) for key, (kernel, _) in wanted.items()}
    policy = TimingPolicy(budget_s=0.02)
    result = DeviceDriver(tracker, device).measure(library, specs, policy, HYGIENE)
    assert (list(result.timings), result.failure) == (list(wanted), None)
    for timing in result.timings.values():
        assert isinstance(timing, Timing)
        assert timing.conditions["reference_s"] > 0


def test_a_hot_device_is_left_alone_until_it_is_cooler(
    small: Small, tracker: Address, device: DeviceKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = dict(list(requests(small).items())[:1])
    library = build(list(wanted.values()), Target.host(), ())
    specs = {key: kernel.arguments(Target.host().isa) for key, (kernel, _) in wanted.items()}
    monkeypatch.setattr("tracker.cooling._LOOK_EVERY_S", 0.0)
    described = [replace(HERE, temperature_c=each) for each in (90.0, 60.0, 61.0)]
    monkeypatch.setattr("tracker.session.Session.describe", lambda _: described.pop(0))
    driver = Hot(tracker, device)
    result = driver.measure(library, specs, TimingPolicy(budget_s=0.02), HYGIENE)
    assert driver.looks == 1
    (timing,) = result.timings.values()
    assert isinstance(timing, Timing)
    assert (timing.conditions["temperature_c"], "hot" in timing.conditions) == (61.0, False)
