"""Speed factors of units, from kernels that several of them measured."""

from random import Random

import pytest

from cost_model.speed_factors import SpeedFactor, speed_factors

TRUE = {"a.1": 0.9, "a.2": 1.0, "a.3": 1.3}


def times(
    kernels: int, noise: float = 0.0, units: dict[str, float] | None = None
) -> dict[str, dict[str, float]]:
    random = Random(7)
    return {
        f"k{n}": {
            unit: 1e-6 * 4**n * each * (1 + random.uniform(-noise, noise))
            for unit, each in (units or TRUE).items()
        }
        for n in range(kernels)
    }


def test_exact_times_give_exact_factors_by_the_middle_unit():
    found = speed_factors(times(6))
    assert {unit: each.factor for unit, each in found.items()} == pytest.approx(TRUE)
    assert all(each.spread == pytest.approx(0.0, abs=1e-9) for each in found.values())
    assert {each.kernels for each in found.values()} == {6}


def test_the_spread_says_how_far_single_kernels_are_apart():
    found = speed_factors(times(6, noise=0.04))
    for unit, each in found.items():
        assert each.factor == pytest.approx(TRUE[unit], rel=0.05)
        assert each.spread is not None
        assert 0.0 < each.spread < 0.12


def test_one_disturbed_measurement_moves_no_factor():
    measured = times(6)
    measured["k3"]["a.3"] *= 10
    assert speed_factors(measured)["a.3"].factor == pytest.approx(1.3)


def test_what_a_unit_alone_measured_says_nothing():
    measured = times(2) | {"own": {"a.1": 1.0}, "theirs": {"a.9": 1.0}}
    found = speed_factors(measured)
    assert found["a.1"].kernels == 2
    assert found["a.9"] == SpeedFactor(1.0, None, 0)


def test_a_class_of_one_unit_has_exactly_one():
    assert speed_factors(times(3, units={"a.1": 1.7})) == {"a.1": SpeedFactor()}
    assert speed_factors({}) == {}


def test_of_two_units_the_faster_one_is_the_measure():
    found = speed_factors(times(4, units={"a.1": 1.5, "a.2": 1.0}))
    assert found["a.2"].factor == 1.0
    assert found["a.1"].factor == pytest.approx(1.5)


def test_a_kernel_that_failed_on_one_unit_serves_the_others():
    measured = times(5)
    del measured["k0"]["a.2"]
    found = speed_factors(measured)
    assert {unit: each.factor for unit, each in found.items()} == pytest.approx(TRUE)
    assert found["a.2"].kernels == 4
