"""What the chaos benchmark counts as lost, doubled and noticed."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.chaos import Books, Chaos, Incident, figures_of
from benchmarks.chaos_run import Row

ONE, TWO = "lab.one", "lab.two"


def run_with(*rows: Row) -> SimpleNamespace:
    return SimpleNamespace(
        store=Path("store"), rows=lambda: list(rows), finished=["done"], starts=1, processes=list
    )


def test_what_was_seen_and_is_gone_is_missing() -> None:
    books = Books()
    first, second = Row(1, "a", ONE, True), Row(2, "b", ONE, True)
    books.look(run_with(first, second))
    assert books.missing(run_with(first, second)) == 0
    assert books.missing(run_with(second)) == 1


def test_another_job_s_store_is_another_matter() -> None:
    books = Books()
    books.look(run_with(Row(1, "a", ONE, True)))
    later = run_with()
    later.store = Path("other")
    assert books.missing(later) == 0


def test_a_kernel_that_was_given_up_is_lost() -> None:
    books = Books()
    books.look(run_with(Row(1, "a", ONE, True), Row(2, "b", TWO, False)))
    assert books.failed() == 1


def test_each_unit_may_measure_a_kernel_once() -> None:
    books = Books()
    books.look(run_with(Row(1, "a", ONE, True), Row(2, "a", TWO, True)))
    assert books.doubled() == 0
    books.look(run_with(Row(3, "a", ONE, True)))
    assert books.doubled() == 1


@pytest.mark.parametrize(
    ("noticed_s", "in_time"), [([0.5, 9.9], True), ([0.5, 10.1], False), ([0.5, None], False), ([], False)]
)
def test_every_fault_has_to_be_noticed_within_ten_seconds(
    noticed_s: list[float | None], in_time: bool
) -> None:
    chaos = Chaos(SimpleNamespace(run=run_with()))  # type: ignore[arg-type]
    chaos.incidents = [Incident("session killed", ONE, 0.0, each) for each in noticed_s]
    figures = figures_of(chaos, True)
    assert figures["detected_within_10s"] is in_time
    assert figures["faults"] == len(noticed_s)
    assert (figures["measurements_lost"], figures["orphans"]) == (0, 0)
