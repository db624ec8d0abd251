"""The fewest bundles against every way there is to share configurations, on small fleets."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.fewest import UnitChoices, fewest_bundles
from cluster.problem import Limits, Option, Problem, totals_of


def option(variant: str, latency_s: float, divergence: float, stored: int) -> Option:
    return Option("layer", variant, latency_s, stored, 100, 50, stored, divergence, "f32", "f32")


def problem(speed: float, random: Random) -> Problem:
    """Three variants a layer, from exact to fast; how fast they are differs from class to class."""
    layers = tuple(
        tuple(
            option(
                name, speed * 1e-3 * share * random.uniform(0.7, 1.3), 0.1 * (1 - share), round(1000 * share)
            )
            for name, share in (("exact", 1.0), ("half", 0.5), ("quarter", 0.25))
        )
        for _ in range(3)
    )
    return Problem(layers, edges=((0, 1), (1, 2)))


def fleet(seed: int) -> list[UnitChoices]:
    """Two targets; the first one's bundles run on the second one's units too, slower."""
    random = Random(seed)
    units = []
    for number in range(3):
        old, new = problem(1.0, random), problem(0.6, random)
        for unit in range(2):
            limits = Limits(random.uniform(0.7e-3, 3e-3), storage_bytes=random.uniform(900, 3000))
            offers = {"v2": old} if number == 0 else {"v2": old, "v4": new}
            units.append(UnitChoices(f"class-{number}.{unit}", limits, offers))
    return units


def everything(units: list[UnitChoices]) -> dict[tuple[str, tuple[str, ...]], set[str]]:
    """Each bundle that could be built, with the units that keep their bounds with it."""
    found = {}
    for target in ("v2", "v4"):
        for choice in product(range(3), repeat=3):
            keeping = {
                each.device
                for each in units
                if target in each.offers and each.limits.allow(totals_of(each.offers[target], choice))
            }
            found[target, tuple(("exact", "half", "quarter")[at] for at in choice)] = keeping
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_unit_keeps_its_bounds_and_gets_a_bundle_that_it_can_run(seed: int) -> None:
    units = fleet(seed)
    built = everything(units)
    shared = fewest_bundles(units)
    assert shared.gap == 0
    for bundle in shared.bundles:
        assert bundle.devices
        assert set(bundle.devices) <= built[bundle.target, bundle.variants]
    served = [device for bundle in shared.bundles for device in bundle.devices]
    assert sorted([*served, *shared.uncovered]) == sorted(each.device for each in units)
    assert set(shared.uncovered) == {each.device for each in units} - set().union(*built.values())


@pytest.mark.parametrize("seed", range(12))
def test_rarely_would_fewer_do(seed: int) -> None:
    """Candidates are not everything; on these fleets they are enough to be within one of the fewest."""
    units = fleet(seed)
    shared = fewest_bundles(units)
    wanted = {each.device for each in units} - set(shared.uncovered)
    useful = [each for each in everything(units).values() if each]
    least = next(
        count
        for count in range(len(wanted) + 1)
        if any(wanted <= set().union(*some) for some in combinations(useful, count))
    )
    assert least <= len(shared.bundles) <= least + 1


def test_units_that_are_alike_share_one_bundle_and_the_slow_one_decides() -> None:
    same = problem(1.0, Random(0))
    units = [UnitChoices(f"lab.{at}", Limits(bound), {"v2": same}) for at, bound in enumerate((3e-3, 1.5e-3))]
    (bundle,) = fewest_bundles(units).bundles
    assert bundle.devices == ("lab.0", "lab.1")
    alone = fewest_bundles(units[1:]).bundles[0]
    assert bundle.variants == alone.variants


def test_a_unit_that_nothing_helps_is_named() -> None:
    same = problem(1.0, Random(0))
    units = [
        UnitChoices("lab.fast", Limits(3e-3), {"v2": same}),
        UnitChoices("lab.no", Limits(1e-9), {"v2": same}),
    ]
    shared = fewest_bundles(units)
    assert shared.uncovered == ("lab.no",)
    assert shared.bundles[0].devices == ("lab.fast",)


def test_a_target_that_a_unit_does_not_run_is_no_offer() -> None:
    """Two units of different targets never share, however alike their costs are."""
    same = problem(1.0, Random(0))
    units = [
        UnitChoices("old.one", Limits(3e-3), {"v2": same}),
        UnitChoices("new.one", Limits(3e-3), {"v4": replace(same)}),
    ]
    assert {(each.target, each.devices) for each in fewest_bundles(units).bundles} == {
        ("v2", ("old.one",)),
        ("v4", ("new.one",)),
    }
