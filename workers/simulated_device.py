"""A device that exists in numbers alone: the same work as ``DeviceDriver``, on a clock of its own.

What it takes and what goes wrong are drawn from a seed, so that the same work gives the same results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracker.device import Description, DeviceKey
from tracker.failure import Failure
from tracker.timing import FEWEST_REPEATS, ArgumentSpec, Timing, TimingPolicy
from workers.build import RUNS_A_TURN, ClockedLibrary, Executable, Library
from workers.device import PROFILE_SESSIONS, BatchResult, RunResult
from workers.profile import KernelInContext, NetworkInContext, ProfileResult

NOISE = 0.01
"""Of a repeat, as the standard deviation of a factor."""
PEAK_BYTES = 1 << 20
"""Of a session without a network."""


class Times(Protocol):
    """How long things take on the middle unit of a class; see ``workers.simulated_times``."""

    def kernel_s(self, request: str) -> float:
        """One call of a request's function."""

    def timing_s(self, requests: Iterable[str]) -> float:
        """Timing requests: fill the arguments of each, call it until it is known well enough."""

    def network_s(self, executable: Executable) -> float:
        """One inference."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, and how often. Without any, nothing does."""

    crash_share: float = 0.0
    """Of sessions: one of their requests ends them, whichever runs just then."""
    deadly: frozenset[str] = frozenset()
    """Requests that end every session."""
    refused: frozenset[str] = frozenset()
    """Requests that a device answers with an error."""
    loss_every_s: float | None = None
    """Mean time of a device until it is lost..."""
    away_s: float = 30.0
    """... and until it is back."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How far a session came."""

    done: tuple[str, ...]
    culprit: str | None
    duration_s: float


@dataclass(slots=True, eq=False)
class SimulatedDevice:
    """One unit. ``clock_s`` moves on by what its work takes."""

    key: DeviceKey
    times: Times
    random: Random
    faults: Faults = Faults()
    factor: float = 1.0
    """What it takes by what the middle unit takes."""
    open_s: float = 0.1
    """To open a session and upload a library."""
    online: bool = True
    clock_s: float = 0.0

    def describe(self) -> Description | Failure:
        """What the device says about itself; it shares its cores with nobody."""
        if not self.online:
            return self._unreachable("describe")
        host = f"simulated {self.key}"
        return Description("x86_64", "simulated", (), 1, 1 << 30, None, None, host, (0,), 1, "blinknet")

    def attempt(self, requests: Sequence[str]) -> Attempt:
        """Time requests, without their repeats: what a fleet of ten thousand can afford."""
        reached = self._reached(requests)
        begun = requests[: reached + 1]
        duration_s = self.open_s + self.factor * self.times.timing_s(begun)
        culprit = requests[reached] if reached < len(requests) else None
        return Attempt(tuple(requests[:reached]), culprit, duration_s)

    def measure(
        self, library: Library, arguments: Mapping[str, Sequence[ArgumentSpec]], policy: TimingPolicy
    ) -> BatchResult:
        """As ``DeviceDriver.measure``."""
        if not self.online:
            return BatchResult({}, failure=self._unreachable("open a session"))
        attempt = self.attempt(list(arguments))
        self.clock_s += attempt.duration_s
        timings = {each: self._timing(each, library.symbols[each], policy) for each in attempt.done}
        if attempt.culprit is None:
            return BatchResult(timings)
        failure = Failure("crash", "the session died", str(self.key), f"time {attempt.culprit}")
        return BatchResult(timings, attempt.culprit, failure)

    def run(
        self,
        candidate: Executable,
        exact: Executable,
        inputs: Sequence[NDArray[np.float32]],
        outputs: Sequence[tuple[int, ...]],
        runs: int,
        limit_bytes: int | None = None,  # noqa: ARG002 (the peak is known without trying)
    ) -> RunResult | Failure:
        """As ``DeviceDriver.run``; every answer is zero."""
        if not self.online:
            return self._unreachable("open a session")
        seconds, exact_seconds = (
            self._repeats(self.factor * self.times.network_s(each), runs) for each in (candidate, exact)
        )
        self.clock_s += self.open_s + sum(seconds) + sum(exact_seconds)
        samples = len(inputs[0])
        answers = tuple(np.zeros((samples, *shape), np.float32) for shape in outputs)
        return RunResult(seconds, exact_seconds, PEAK_BYTES + candidate.parameter_bytes, answers)

    def profile(self, library: ClockedLibrary) -> ProfileResult | Failure:
        """As ``DeviceDriver.profile``; in a network a kernel takes what it takes alone."""
        if not self.online:
            return self._unreachable("open a session")
        networks = tuple(self._in_context(each.places) for each in library.networks)
        taken = [each.seconds for network in networks for each in network.kernels]
        self.clock_s += PROFILE_SESSIONS * self.open_s + sum(map(sum, taken))
        return ProfileResult(networks)

    def _in_context(self, places: Iterable[tuple[str, int, str]]) -> NetworkInContext:
        runs, once = PROFILE_SESSIONS * RUNS_A_TURN, self.times.kernel_s
        kernels = tuple(
            KernelInContext(layer, step, request, self._repeats(self.factor * once(request), runs))
            for layer, step, request in places
        )
        return NetworkInContext(kernels, clock_s=0.0, rest_s=0.0)

    def _reached(self, requests: Sequence[str]) -> int:
        """Index of the request that ends the session; beyond the last one where none does."""
        reached, faults = len(requests), self.faults
        if faults.crash_share and self.random.random() < faults.crash_share:
            reached = self.random.randrange(reached)
        if not faults.deadly.isdisjoint(requests):
            reached = min(reached, *(at for at, each in enumerate(requests) if each in faults.deadly))
        return reached

    def _timing(self, request: str, symbol: str, policy: TimingPolicy) -> Timing | Failure:
        if request in self.faults.refused:
            return Failure("refused", "it is refused", str(self.key), f"time {symbol}")
        once_s = self.factor * self.times.kernel_s(request)
        seconds = self._repeats(once_s, FEWEST_REPEATS)
        return Timing(symbol, policy.number(once_s), seconds, policy.settled(seconds))

    def _repeats(self, seconds: float, count: int) -> tuple[float, ...]:
        return tuple(_noisy(seconds, self.random) for _ in range(count))

    def _unreachable(self, operation: str) -> Failure:
        return Failure("unreachable", "it is lost", str(self.key), operation)


def fleet(
    classes: Iterable[str], units: int, times: Mapping[str, Times], faults: Faults, seed: int, spread: float
) -> dict[str, SimulatedDevice]:
    """``CLASS.UNIT`` to device; the factors of each class are spread around 1 by ``spread``, as a share."""
    devices = {}
    for name in classes:
        for unit in range(units):
            key = DeviceKey(name, f"unit-{unit:03}")
            random = Random(f"{seed} {key}")  # noqa: S311 (a simulation)
            factor = random.lognormvariate(0.0, spread)
            devices[str(key)] = SimulatedDevice(key, times[name], random, faults, factor)
    return devices


def _noisy(seconds: float, random: Random) -> float:
    return seconds * max(0.5, random.gauss(1.0, NOISE))
