"""Times compiled functions on a device. Runs in the session's child."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from tracker.adaptive import adaptive_repeats
from tracker.remote import RemoteDevice
from tracker.timing import Argument, Timing, TimingPolicy


class MissingFunctionError(Exception):
    """The library does not hold the function."""


def time_function(
    device: RemoteDevice, module: Any, symbol: str, arguments: list[Argument], policy: TimingPolicy
) -> Timing:
    """Adaptive repeats of one function with its arguments filled; raises MissingFunctionError.

    Our own agent takes them by itself, in one round trip.
    """
    if own := device.function("blinknet.time_function"):
        answer = own(module, symbol, json.dumps([arguments, asdict(policy)]))
        number, seconds = read_answer(answer, policy.max_repeats)
    else:
        number, seconds = _time_from_here(device, module, symbol, arguments, policy)
    if not seconds:
        raise MissingFunctionError(f"the library has no function {symbol}")
    return Timing(symbol, number, tuple(seconds), policy.settled(seconds))


def read_answer(text: str, max_repeats: int) -> tuple[int, tuple[float, ...]]:
    """Calls in a repeat, and seconds of each repeat; nothing where the device has no such function.

    Raises ValueError for what no timing can be.
    """
    answer = json.loads(text)
    if answer is None:
        return 0, ()
    number, seconds = answer
    times = all(isinstance(each, float) and 0 <= each < math.inf for each in seconds)
    if not (isinstance(number, int) and number > 0 and times and 0 < len(seconds) <= max(2, max_repeats)):
        raise ValueError(f"the device's answer is no timing: {text[:100]}")
    return number, tuple(seconds)


def _time_from_here(
    device: RemoteDevice, module: Any, symbol: str, arguments: list[Argument], policy: TimingPolicy
) -> tuple[int, tuple[float, ...]]:
    """Calls in a repeat, and seconds of each repeat; nothing where there is no such function."""
    try:
        module.get_function(symbol)
    except AttributeError:
        return 0, ()
    tensors = device.tensors.filled(arguments)

    def evaluate(number: int, repeat: int) -> tuple[float, ...]:
        evaluator = module.time_evaluator(symbol, device.cpu, number=number, repeat=repeat)
        return tuple(evaluator(*tensors).results)

    return adaptive_repeats(evaluate, policy)
