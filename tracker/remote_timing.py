"""Times compiled functions on a device. Runs in the session's child."""

from __future__ import annotations

import time
from typing import Any

from tracker.remote import RemoteDevice
from tracker.timing import Argument, Timing, TimingPolicy


class MissingFunctionError(Exception):
    """The library does not hold the function."""


def time_function(
    device: RemoteDevice, module: Any, symbol: str, arguments: list[Argument], policy: TimingPolicy
) -> Timing:
    """Adaptive repeats of one function with its arguments filled; raises MissingFunctionError."""
    try:
        module.get_function(symbol)
    except AttributeError as error:
        raise MissingFunctionError(f"the library has no function {symbol}") from error
    tensors = device.filled_tensors(arguments)
    evaluate = _Evaluator(device, module, symbol, tensors)
    until = time.monotonic() + policy.budget_s
    trial = evaluate(1, 2)
    once_s = min(trial)
    number = policy.number(once_s)
    seconds = list(trial) if number == 1 else []
    while not seconds or (len(seconds) < policy.max_repeats and time.monotonic() < until):
        affordable = int((until - time.monotonic()) / (number * once_s))
        seconds += evaluate(number, max(1, min(affordable, policy.next_repeats(seconds))))
        if policy.settled(seconds):
            break
    return Timing(symbol, number, tuple(seconds), policy.settled(seconds))


class _Evaluator:
    """TVM's time evaluator on the device: seconds per call, one a repeat; a first call does not count."""

    def __init__(self, device: RemoteDevice, module: Any, symbol: str, tensors: list[Any]) -> None:
        self._device = device
        self._module = module
        self._symbol = symbol
        self._tensors = tensors

    def __call__(self, number: int, repeat: int) -> tuple[float, ...]:
        evaluator = self._module.time_evaluator(self._symbol, self._device.cpu, number=number, repeat=repeat)
        return tuple(evaluator(*self._tensors).results)
