"""Timing by the device itself: a function of the agent's sessions, one round trip for each function timed."""

from __future__ import annotations

import json
from typing import Any

import tvm.runtime
import tvm_ffi

from tracker.adaptive import adaptive_repeats
from tracker.tensors import Tensors
from tracker.timing import Argument, TimingPolicy


class OwnTiming:
    """``blinknet.time_function``; keeps the last function's tensors for the next one."""

    def __init__(self) -> None:
        self._cpu = tvm.runtime.cpu(0)
        self._tensors = Tensors(self._cpu, lambda name: tvm_ffi.get_global_func(name, allow_missing=True))

    def __call__(self, module: Any, symbol: str, request: str) -> str:
        """Calls in a repeat and seconds of each repeat, in JSON; null where there is no such function.

        ``request`` is a list of the arguments and the policy, in JSON.
        """
        try:
            module.get_function(symbol)
        except AttributeError:
            return "null"
        arguments, policy = json.loads(request)
        tensors = self._tensors.filled([Argument(tuple(shape), *rest) for shape, *rest in arguments])

        def evaluate(number: int, repeat: int) -> tuple[float, ...]:
            evaluator = module.time_evaluator(symbol, self._cpu, number=number, repeat=repeat)
            return tuple(evaluator(*tensors).results)

        return json.dumps(adaptive_repeats(evaluate, TimingPolicy(**policy)))
