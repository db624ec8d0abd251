"""Repeats until they say enough, whoever takes them: the device itself, or a session over RPC."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tracker.timing import TimingPolicy

_TICK_S: Final = 1e-9
"""A call may be shorter than a tick of the device's clock."""
Evaluate = Callable[[int, int], tuple[float, ...]]
"""``(calls in a repeat, repeats)`` to seconds per call, one a repeat; a first call does not count."""


def adaptive_repeats(evaluate: Evaluate, policy: TimingPolicy) -> tuple[int, tuple[float, ...]]:
    """Calls in a repeat, and the seconds per call of all repeats."""
    until = time.monotonic() + policy.budget_s
    trial = evaluate(1, 2)
    once_s = max(min(trial), _TICK_S)
    number = policy.number(once_s)
    seconds = list(trial) if number == 1 else []
    while not seconds or (len(seconds) < policy.max_repeats and time.monotonic() < until):
        affordable = int((until - time.monotonic()) / (number * once_s))
        seconds += evaluate(number, max(1, min(affordable, policy.next_repeats(seconds))))
        if policy.settled(seconds):
            break
    return number, tuple(seconds)
