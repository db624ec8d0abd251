from __future__ import annotations

from dataclasses import replace

import pytest

from cost_model.errors import CostModelError
from cost_model.measurement import (
    Evaluation,
    Measurement,
    NetworkRun,
    configuration_key,
    configuration_variants,
)


def measurement(*seconds: float, failure: str | None = None) -> Measurement:
    return Measurement("kernel", "class", "target", "versions", "class.unit", 1, seconds, True, {}, failure)


def test_the_median_of_an_even_number_is_between_the_middle_two() -> None:
    assert measurement(4.0, 1.0, 2.0, 3.0).median_s == 2.5


def test_a_quantile_is_a_repeat_that_was_seen() -> None:
    taken = measurement(*(float(each) for each in range(1, 21)))
    assert taken.quantile(0.95) == 19.0
    assert taken.quantile(0.951) == 20.0
    assert taken.quantile(1.0) == 20.0


def test_a_measurement_that_converged_is_believed_whole() -> None:
    taken = measurement(1.0, 1.5, 1.0, 1.2, 1.1, 1.3)
    assert (taken.marks, taken.weight) == ((), 1.0)


def test_a_wide_spread_is_marked_and_weighs_the_less_the_wider_it_is() -> None:
    narrow, wide = (
        replace(measurement(*(1 + width * each for each in range(6))), converged=False)
        for width in (0.02, 0.2)
    )
    assert narrow.marks == wide.marks == ("spread",)
    assert 1 > narrow.weight > wide.weight > 0


@pytest.mark.parametrize("seconds", [(1.0,), (1.0, 1.01)])
def test_a_few_repeats_that_agree_are_not_believed_more_than_a_model(seconds: tuple[float, ...]) -> None:
    assert replace(measurement(*seconds), converged=False).weight == pytest.approx(0.5)


def test_a_correction_for_drift_and_heat_are_marks() -> None:
    drifted = replace(measurement(*[1.0] * 6), conditions={"drift": 0.4, "hot": 1.0})
    assert drifted.marks == ("drift", "hot")
    assert drifted.weight == pytest.approx(0.2)
    assert measurement(failure="SIGILL").marks == ()


def test_a_failure_has_no_median() -> None:
    with pytest.raises(CostModelError, match="SIGILL"):
        _ = measurement(failure="SIGILL").median_s


@pytest.mark.parametrize("seconds", [0.0, -1e-6, float("nan"), float("inf")])
def test_impossible_times_are_refused(seconds: float) -> None:
    with pytest.raises(CostModelError, match=r"class\.unit"):
        measurement(1e-5, seconds)


def test_nothing_measured_needs_a_reason() -> None:
    with pytest.raises(CostModelError, match="failure"):
        measurement()


@pytest.mark.parametrize(
    ("count", "correct", "divergence"), [(0, 0, 0.0), (10, 11, 0.0), (10, 9, float("nan"))]
)
def test_impossible_evaluations_are_refused(count: int, correct: int, divergence: float) -> None:
    with pytest.raises(CostModelError, match="impossible"):
        Evaluation("network", "samples", "{}", "versions", count, correct, divergence)


def test_equal_configurations_have_equal_keys_in_any_order() -> None:
    one = {"conv1": "int8 f32>u8", "conv2": "exact u8>f32"}
    other = dict(reversed(one.items()))
    assert configuration_key(one) == configuration_key(other)
    assert configuration_variants(configuration_key(one)) == one
    assert configuration_key(one) != configuration_key({**one, "conv1": "exact f32>u8"})


@pytest.mark.parametrize("key", ["", "conv1", "[1]", '{"conv1": 1}'])
def test_what_is_no_configuration_key_is_refused(key: str) -> None:
    with pytest.raises(CostModelError, match="configuration_key"):
        configuration_variants(key)


def test_a_run_is_disturbed_where_the_exact_configuration_has_a_long_tail() -> None:
    def run(exact_seconds: tuple[float, ...]) -> NetworkRun:
        return NetworkRun("c", "n", "v3", "t", "v", "v3.1", (1e-3,) * 100, exact_seconds, 1, 1, 1, 1)

    calm = (1.0e-3,) * 94 + (1.5e-3,) * 6
    assert not run(calm).disturbed(95)
    assert run((1.0e-3,) * 94 + (9e-3,) * 6).disturbed(95)
    assert not run((1.0e-3,) * 94 + (9e-3,) * 6).disturbed(50)
    assert not run((1.0e-3,) * 99 + (9e-3,)).disturbed(95)
    assert not run(()).disturbed(95)


def test_the_spread_of_a_run_is_that_between_its_sessions_beside_the_exact_configuration() -> None:
    def run(seconds: tuple[float, ...], exact: tuple[float, ...], sessions: int | None) -> NetworkRun:
        return NetworkRun("c", "n", "v3", "t", "v", "v3.1", seconds, exact, 1, 1, 1, 1, sessions)

    slower_later = (1.0e-3,) * 20 + (1.0e-3,) * 20 + (1.2e-3,) * 20
    steady = (2e-3,) * 60
    assert run(slower_later, steady, 3).spread(95) == pytest.approx(0.2)
    # The device itself was slower: both were.
    assert run(slower_later, tuple(2 * each for each in slower_later), 3).spread(95) == pytest.approx(0)
    assert run(slower_later, steady, None).spread(95) == 0
    assert run(slower_later, (), 3).spread(95) == 0
