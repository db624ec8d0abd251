"""Two units of one class on a simulated site: one is slower, and both come to certificates of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.coordinator import Coordinator
from cluster.decision import UNIFORM, Finished, holds
from cluster.planning import ClassPlan
from runtime.bounds import Bounds
from tests.cluster.test_loop import ONE, TWO, Site

SPEEDS = {"one": 1.0, "two": 1.4}
COMMON = 3


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.watch.LOOK_EVERY_S", 0.0)


def site(plan: ClassPlan, folder: Path, bounds: Bounds, *, shared: bool) -> Site:
    return Site(
        plan,
        folder,
        script=[({ONE, TWO}, set())],
        patience_s=30.0,
        bounds=bounds,
        speeds=SPEEDS,
        common=COMMON,
        shared=shared,
    )


def absolute(plan: ClassPlan, folder: Path) -> Bounds:
    """What the slower unit can just keep: four fifths of what the exact configuration takes there."""
    scout = Site(plan, folder, script=[({TWO}, set())], speeds=SPEEDS)
    scout.play()
    exact_ms = 1e3 * scout.runs[str(TWO)][0].costs.latency_s
    return Bounds.parse({"latency": f"{0.8 * exact_ms:.6f}ms", "loss": "10pp"})


def found(coordinator: Coordinator) -> dict[str, Finished]:
    outcomes = coordinator.outcomes
    assert outcomes.keys() == {str(ONE), str(TWO)}
    return {name: each for name, each in outcomes.items() if isinstance(each, Finished)}


@pytest.mark.parametrize("kind", ["absolute", "relative"])
@pytest.mark.parametrize("shared", [True, False], ids=["class", "unit"])
def test_every_unit_keeps_its_bounds(plan: ClassPlan, tmp_path: Path, kind: str, shared: bool) -> None:
    (scout := tmp_path / "scout").mkdir()
    relative = Bounds.parse({"latency": "80%", "loss": "10pp"})
    bounds = relative if kind == "relative" else absolute(plan, scout)
    here = site(plan, tmp_path, bounds, shared=shared)
    outcomes = found(here.play())
    assert {each.verdict for each in outcomes.values()} == {"holds"}
    for device, outcome in outcomes.items():
        (run, *_) = [each for each in here.runs[device] if each.selection == outcome.selection]
        assert holds(run, bounds)
    if shared:
        assert outcomes[str(ONE)].selection == outcomes[str(TWO)].selection
    assert here.factors == pytest.approx({str(ONE): 1.0, str(TWO): 1.4})


def test_of_all_measurements_only_the_common_ones_exist_twice(plan: ClassPlan, tmp_path: Path) -> None:
    here = site(plan, tmp_path, Bounds.parse({"latency": "80%", "loss": "10pp"}), shared=True)
    here.play()
    twice = [key for key, units in here.measured.items() if len(units) == 2]
    assert len(twice) == COMMON
    assert here.rows["measurements"] == len(here.measured) + COMMON
    rows = here.rows
    here.play()
    assert here.rows == rows


def test_the_search_happens_on_the_slower_unit_alone(plan: ClassPlan, tmp_path: Path) -> None:
    here = site(plan, tmp_path, Bounds.parse({"latency": "50%", "loss": "0.2pp"}), shared=True)
    outcomes = found(here.play())
    final = outcomes[str(ONE)].selection
    exact = plan.table.uniform_variants(UNIFORM[0])
    assert [each.selection.variants for each in here.runs[str(ONE)]] == [exact, final.variants]
    assert len(here.runs[str(TWO)]) > 2


@pytest.mark.parametrize("oddity", [1.3, 1.8, 4.0])
def test_a_unit_on_which_the_bounds_break_takes_over(plan: ClassPlan, tmp_path: Path, oddity: float) -> None:
    """The faster unit does worse with any approximation than the slower one, which searches at first."""
    bounds = Bounds.parse({"latency": "60%", "loss": "10pp"})
    alone = found_by_slower(plan, tmp_path / "alone", bounds)
    here = site(plan, tmp_path, bounds, shared=True)
    here.oddities = {"one": oddity}
    outcomes = found(here.play())
    one, two = outcomes[str(ONE)], outcomes[str(TWO)]
    assert two.verdict == "holds"
    tried = [each for each in here.runs[str(ONE)] if each.selection == alone.selection]
    if one.verdict == "holds":
        assert one.selection == two.selection
    else:
        assert two.selection == alone.selection
    if not holds(tried[0], bounds):
        tried_more = len(here.runs[str(ONE)]) > 2
        assert tried_more or one.verdict == "infeasible", "nothing else was tried where the bounds broke"
    for device, outcome in outcomes.items():
        runs = [each for each in here.runs[device] if each.selection == outcome.selection]
        assert runs
        assert any(holds(each, bounds) for each in runs) == (outcome.verdict == "holds")


def found_by_slower(plan: ClassPlan, folder: Path, bounds: Bounds) -> Finished:
    """What the slower unit finds when nothing is odd."""
    folder.mkdir()
    return found(site(plan, folder, bounds, shared=True).play())[str(TWO)]
