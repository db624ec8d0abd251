"""When a device counts as slower or faster than it was, and what becomes of its timings."""

import pytest

from tracker.drift import Drift, Span, corrected, drift_share, reading_s, segments, worst
from tracker.timing import Timing

SHARE = 0.1


def timing(*seconds: float) -> Timing:
    return Timing("f", 1, seconds, converged=True)


@pytest.mark.parametrize(("after_s", "moved"), [(1.09, False), (1.12, True), (0.92, False), (0.88, True)])
def test_the_ends_of_a_span_are_compared_both_ways(after_s: float, moved: bool) -> None:
    assert Span(1.0, after_s).moved(SHARE) is moved


def test_a_device_that_came_back_has_not_drifted() -> None:
    assert drift_share(1.0, Span(1.05, 1.1), SHARE) is None
    assert drift_share(1.0, Span(1.5, 1.5), SHARE) == pytest.approx(0.5)
    assert drift_share(1.0, Span(0.8, 0.8), SHARE) == pytest.approx(-0.2)


def test_a_steady_change_counts_although_the_ends_agree() -> None:
    slow = Span(1.3, 1.3)
    assert not slow.moved(SHARE)
    assert drift_share(1.0, slow, SHARE) == pytest.approx(0.3)


def test_corrected_timings_are_flagged_and_their_raw_seconds_can_be_had_again() -> None:
    raw = timing(1.5, 3.0, 1.8)
    flagged = corrected(raw, 0.5)
    assert flagged.seconds == pytest.approx((1.0, 2.0, 1.2))
    assert [each * (1 + flagged.conditions["drift"]) for each in flagged.seconds] == pytest.approx(
        raw.seconds
    )
    assert corrected(raw, None) == raw


def test_a_short_disturbance_does_not_move_a_reading() -> None:
    calm = reading_s(timing(*[1.0] * 20))
    assert reading_s(timing(*[1.0] * 12, *[4.0] * 8)) == calm
    assert reading_s(timing(*[1.5] * 20)) == pytest.approx(1.5 * calm)


def test_every_request_is_in_one_segment() -> None:
    assert segments(list("abcdefg"), 3) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert segments([], 3) == []


def test_the_worst_of_a_batch_is_told() -> None:
    small, large = Drift(0.2, 1.0, 1.2, 8), Drift(-0.4, 1.0, 0.6, 3)
    assert worst([small, large]) == Drift(-0.4, 1.0, 0.6, 11)
    assert worst([]) is None
