"""Units of one class share the work and the configuration: command by command."""

from __future__ import annotations

import pytest

from cluster.coordinator import Coordinator
from cluster.decision import Decision, Finished, NeedRun, TakeOver
from cluster.events import (
    Batch,
    Build,
    Built,
    Command,
    Decide,
    Decided,
    DeviceJoined,
    DeviceLost,
    Evaluated,
    Measure,
    Measured,
    Ran,
    Rank,
    Ranked,
    RunConfiguration,
)
from cluster.selection import Selection

ONE, TWO = "a.1", "a.2"
FIRST, SECOND = (Selection((name,), (((8, 1),),)) for name in ("first", "second"))


def joined(device: str) -> DeviceJoined:
    return DeviceJoined(device, "a", frozenset({device}))


def measured(command: Command) -> Measured:
    assert isinstance(command, Measure)
    return Measured(command.device, command.batch, command.batch.requests)


def sharing() -> Coordinator:
    """Two units that have nothing left to measure; nobody governs yet."""
    coordinator = Coordinator({"a": []}, ["conv1"], shared=["a"])
    coordinator.handle(joined(ONE))
    coordinator.handle(joined(TWO))
    return coordinator


def governed() -> Coordinator:
    """The second unit is the slower one."""
    coordinator = sharing()
    assert coordinator.handle(Evaluated("conv1")) == [Rank("a", (ONE, TWO))]
    assert coordinator.handle(Ranked("a", (TWO, ONE))) == [Decide(TWO)]
    return coordinator


def certify(coordinator: Coordinator, device: str, selection: Selection, verdict: Decision) -> list[Command]:
    """It runs the configuration and is asked again; what follows from its verdict."""
    assert coordinator.handle(Decided(device, NeedRun(selection))) == [RunConfiguration(device, selection)]
    (asked,) = coordinator.handle(Ran(device))
    assert isinstance(asked, Decide)
    return coordinator.handle(Decided(device, verdict))


def test_common_requests_are_measured_by_every_unit_and_all_others_once():
    coordinator = Coordinator({"a": ["k0", "k1", "k2"]}, [], common={"a": ["k1"]}, build_slots=9)
    commands = [*coordinator.handle(joined(ONE)), *coordinator.handle(joined(TWO))]
    done: list[tuple[str, str]] = []
    while commands:
        command = commands.pop(0)
        if isinstance(command, Build):
            commands += coordinator.handle(Built(command.batch))
        elif isinstance(command, Measure):
            done += [(command.device, each) for each in command.batch.requests]
            commands += coordinator.handle(measured(command))
    assert {device for device, request in done if request == "k1"} == {ONE, TWO}
    assert sorted(request for _, request in done) == ["k0", "k1", "k1", "k2"]


def test_the_library_of_the_common_requests_waits_for_units_that_come_later():
    coordinator = Coordinator({"a": ["k0"]}, [], common={"a": ["k0"]})
    (build,) = coordinator.handle(joined(ONE))
    assert build == Build(Batch(1, "a", ("k0",), common=True))
    (measure,) = coordinator.handle(Built(build.batch))
    assert coordinator.handle(measured(measure)) == [Decide(ONE)]
    assert coordinator.handle(joined(TWO)) == [Measure(TWO, build.batch)]


def test_what_a_unit_has_measured_before_it_need_not_measure_again():
    coordinator = Coordinator(
        {"a": []}, [], common={"a": ["k0", "k1"]}, measured={ONE: ["k0", "k1"], TWO: ["k0"]}
    )
    assert coordinator.handle(joined(ONE)) == [Decide(ONE)]
    (build,) = coordinator.handle(joined(TWO))
    assert coordinator.handle(Built(build.batch)) == [Measure(TWO, Batch(1, "a", ("k1",), common=True))]


def test_the_slowest_unit_searches_alone_and_the_other_one_runs_what_it_finds():
    coordinator = governed()
    assert coordinator.handle(Decided(TWO, NeedRun(FIRST))) == [RunConfiguration(TWO, FIRST)]
    assert coordinator.handle(Ran(TWO)) == [Decide(TWO)]
    found = Finished("holds", FIRST)
    assert coordinator.handle(Decided(TWO, found)) == [Decide(ONE, found)]
    assert not coordinator.finished
    assert certify(coordinator, ONE, FIRST, found) == []
    assert coordinator.finished
    assert coordinator.outcomes == {ONE: found, TWO: found}


def test_where_the_bounds_are_broken_the_search_goes_on_and_the_others_run_what_it_brings():
    coordinator = governed()
    coordinator.handle(Decided(TWO, Finished("holds", FIRST)))
    assert certify(coordinator, ONE, FIRST, TakeOver()) == [Decide(ONE)]
    better = Finished("holds", SECOND)
    assert certify(coordinator, ONE, SECOND, better) == [Decide(TWO, better)]
    assert TWO not in coordinator.outcomes
    assert certify(coordinator, TWO, SECOND, better) == []
    assert coordinator.outcomes == {ONE: better, TWO: better}


def test_a_unit_takes_over_only_once():
    coordinator = governed()
    coordinator.handle(Decided(TWO, Finished("holds", FIRST)))
    certify(coordinator, ONE, FIRST, TakeOver())
    certify(coordinator, ONE, SECOND, Finished("holds", SECOND))
    assert certify(coordinator, TWO, SECOND, TakeOver()) == []
    assert coordinator.outcomes[TWO] == Finished("unverified", SECOND)
    assert coordinator.finished


def test_a_search_that_was_taken_over_and_finds_nothing_leaves_the_others_alone():
    coordinator = governed()
    first, nothing = Finished("holds", FIRST), Finished("infeasible", SECOND)
    coordinator.handle(Decided(TWO, first))
    certify(coordinator, ONE, FIRST, TakeOver())
    assert certify(coordinator, ONE, SECOND, nothing) == []
    assert coordinator.outcomes == {ONE: nothing, TWO: first}
    assert coordinator.finished


def test_when_the_searching_unit_is_lost_another_one_goes_on():
    coordinator = governed()
    coordinator.handle(Decided(TWO, NeedRun(FIRST)))
    assert coordinator.handle(DeviceLost(TWO, "unplugged")) == [Decide(ONE)]
    found = Finished("holds", SECOND)
    assert coordinator.handle(Decided(ONE, found)) == [Decide(TWO, found)]
    assert coordinator.handle(Decided(TWO, NeedRun(SECOND))) == []
    assert coordinator.handle(joined(TWO)) == [RunConfiguration(TWO, SECOND)]


def test_one_of_a_class_is_not_ranked():
    coordinator = Coordinator({"a": []}, [], shared=["a"])
    assert coordinator.handle(joined(ONE)) == [Decide(ONE)]


@pytest.mark.parametrize("lost", [ONE, TWO])
def test_a_class_whose_only_unit_left_measures_its_own_goes_on_without_the_lost_one(lost: str):
    coordinator = Coordinator({"a": ["k0"]}, [], common={"a": ["k0"]}, shared=["a"])
    (build,) = coordinator.handle(joined(ONE))
    coordinator.handle(joined(TWO))
    timed = {
        each.device: each for each in coordinator.handle(Built(build.batch)) if isinstance(each, Measure)
    }
    coordinator.handle(DeviceLost(lost, "unplugged"))
    (left,) = timed.keys() - {lost}
    assert coordinator.handle(measured(timed[left])) == [Decide(left)]
