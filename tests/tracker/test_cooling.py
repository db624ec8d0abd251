"""Waiting for a device that is too hot; clock and thermometer are made up."""

from collections.abc import Iterator

import pytest

from tracker.cooling import Cooling, cool_down

COOLING = Cooling(max_c=80.0, margin_c=5.0, patience_s=60.0)


class Board:
    """Its temperature at each look; the last one stays."""

    def __init__(self, *temperatures_c: float | None) -> None:
        self._left: Iterator[float | None] = iter(temperatures_c)
        self._last = temperatures_c[-1]
        self.now_s = 0.0
        self.looks = 0

    def read(self) -> float | None:
        self.looks += 1
        return next(self._left, self._last)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def cool_down(self, cooling: Cooling = COOLING) -> None:
        cool_down(cooling, self.read, self.sleep, lambda: self.now_s)


@pytest.mark.parametrize(("temperature_c", "hot"), [(80.0, False), (80.5, True), (None, False)])
def test_only_what_is_above_the_limit_is_too_hot(temperature_c: float | None, hot: bool) -> None:
    assert COOLING.too_hot(temperature_c) is hot
    assert not Cooling(max_c=None).too_hot(temperature_c)


def test_it_goes_on_when_it_is_cooler_by_the_margin() -> None:
    board = Board(83.0, 79.0, 76.0, 74.5, 60.0)
    board.cool_down()
    assert board.looks == 4


def test_patience_ends() -> None:
    board = Board(90.0)
    board.cool_down()
    assert board.now_s == pytest.approx(COOLING.patience_s)


def test_a_device_that_reports_no_temperature_any_more_is_not_waited_for() -> None:
    board = Board(None)
    board.cool_down()
    assert board.looks == 1
