"""Times compiled functions on a device. Runs in the session's child."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tracker.adaptive import adaptive_repeats
from tracker.answers import seconds
from tracker.failure import GarbledError
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
        number, times = read_answer(answer, policy.max_repeats)
    else:
        number, times = _time_from_here(device, module, symbol, arguments, policy)
    if not times:
        raise MissingFunctionError(f"the library has no function {symbol}")
    return Timing(symbol, number, times, policy.settled(times))


def read_answer(text: str, max_repeats: int) -> tuple[int, tuple[float, ...]]:
    """Calls in a repeat, and seconds of each repeat; nothing where the device has no such function.

    Raises GarbledError for what no timing can be.
    """
    try:
        answer = json.loads(text)
        number, times = (0, ()) if answer is None else answer
    except (TypeError, ValueError, RecursionError) as error:
        raise GarbledError(f"the device's answer is no timing: {str(text)[:100]}") from error
    if answer is None:
        return 0, ()
    if not (isinstance(number, int) and number > 0):
        raise GarbledError(f"the device's answer is no timing: {str(text)[:100]}")
    return number, seconds(times, 1, max(2, max_repeats), zero=True)


def read_times(evaluate: Callable[[], Any], repeat: int, *, zero: bool = False) -> tuple[float, ...]:
    """What TVM's time evaluator tells, one time a repeat; raises GarbledError for what are no times."""
    try:
        results = evaluate().results
    except struct.error as error:
        raise GarbledError(f"the device does not tell {repeat} times: {error}") from error
    return seconds(results, repeat, repeat, zero=zero)


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
        return read_times(lambda: evaluator(*tensors), repeat, zero=number == 1)

    return adaptive_repeats(evaluate, policy)
