from collections.abc import Iterator
from itertools import cycle

from tracker.adaptive import adaptive_repeats
from tracker.timing import TimingPolicy


class Device:
    """Takes as long for a call as the given seconds say, one after the other, without ever passing time."""

    def __init__(self, *seconds: float) -> None:
        self.seconds: Iterator[float] = cycle(seconds)
        self.asked: list[tuple[int, int]] = []

    def __call__(self, number: int, repeat: int) -> tuple[float, ...]:
        self.asked.append((number, repeat))
        return tuple(next(self.seconds) for _ in range(repeat))


def test_a_calm_device_is_asked_for_a_trial_and_for_the_fewest_repeats() -> None:
    device = Device(1e-4)
    assert adaptive_repeats(device, TimingPolicy(min_repeat_s=1e-3, budget_s=60.0)) == (10, (1e-4,) * 6)
    assert device.asked == [(1, 2), (10, 6)]


def test_the_trial_counts_where_a_repeat_is_one_call() -> None:
    device = Device(1.0, 1.01)
    number, seconds = adaptive_repeats(device, TimingPolicy(budget_s=600.0))
    assert (number, seconds) == (1, (1.0, 1.01) * 3)
    assert device.asked == [(1, 2), (1, 4)]


def test_a_restless_device_is_asked_again_until_its_median_is_known() -> None:
    device = Device(1e-3, 1.03e-3, 1.06e-3)
    policy = TimingPolicy(budget_s=60.0)
    _, seconds = adaptive_repeats(device, policy)
    assert len(seconds) > 6
    assert policy.settled(seconds)


def test_no_budget_still_gives_a_repeat() -> None:
    assert len(adaptive_repeats(Device(1e-5), TimingPolicy(budget_s=0.0))[1]) == 1


def test_a_call_may_be_shorter_than_a_tick() -> None:
    device = Device(0.0, 0.0, *[2e-9] * 6)
    assert adaptive_repeats(device, TimingPolicy(budget_s=60.0))[1] == (2e-9,) * 6


def test_there_are_no_more_repeats_than_allowed() -> None:
    _, seconds = adaptive_repeats(Device(1e-5, 1e-3), TimingPolicy(budget_s=60.0, max_repeats=20))
    assert len(seconds) == 20
