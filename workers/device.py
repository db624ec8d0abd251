"""Driving one device: times kernels, runs whole configurations.

Every piece of work has a session in a process that can be killed: one of its own, or that of the batch before
it (``workers.kept_session``). The device is soon free for others in between, and nothing that went wrong is
carried over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cost_model.device_event import DeviceEvent
from cost_model.fingerprint import fingerprint_event
from tracker.address import Address
from tracker.clocked import ClockedTimes
from tracker.cooling import Cooling, cool_down
from tracker.device import Description, DeviceKey
from tracker.failure import Failure, SessionFailed
from tracker.session import Session, transfer_s
from tracker.timing import ArgumentSpec, TimingPolicy
from workers.build import RUNS_A_TURN, ClockedLibrary, Executable, Library
from workers.fingerprint import take_fingerprint
from workers.fingerprint_kernels import FingerprintLibrary
from workers.kept_session import SessionKeeper
from workers.profile import ProfileResult, networks_of, profile_of
from workers.steady import BatchResult, Hygiene, SteadyBatch

__all__ = ["BatchResult", "DeviceDriver", "ProfileResult", "RunResult"]

SESSIONS: Final = 3
"""Each is a process of its own on the device: where its pages lie moves the times by some per cent."""
ATTEMPTS: Final = 3
CALM_TAIL: Final = 1.3
"""Of an undisturbed device: the 95th percentile over the median."""
CLEAN: Final = Hygiene()
DIES_OF_MEMORY: Final = ("crash", "refused")
PROFILE_SESSIONS: Final = 2
"""Each with one turn of every configuration."""
LIMITED_ATTEMPTS: Final = 2
"""A session may end for another reason once; memory that is not there is not there the second time."""
RUNS_WITHIN_LIMIT: Final = 20
Shapes = tuple[Sequence[tuple[int, ...]], Sequence[tuple[int, ...]]]
"""Of one sample of each input and of each output."""
CANDIDATE, EXACT = "candidate", "exact"


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """A configuration end to end on the device, interleaved with the exact one."""

    seconds: tuple[float, ...]
    exact_seconds: tuple[float, ...]
    peak_bytes: int
    answers: tuple[NDArray[np.float32], ...]
    """``(samples, *shape)`` of the candidate, for each output."""
    sessions: int | None = None
    """Processes that the times were taken in, equally many in each."""


class DeviceDriver:
    """The work that one device can be given; a failure is a value. Becomes an actor in ``workers.tasks``."""

    def __init__(self, tracker: Address, key: DeviceKey, session_timeout_s: float = 600.0) -> None:
        self.tracker = tracker
        self.key = key
        self.session_timeout_s = session_timeout_s
        self._keeper = SessionKeeper()

    def describe(self) -> Description | Failure:
        """What the device says about itself."""
        try:
            with self._session() as session:
                return session.describe()
        except SessionFailed as error:
            return error.failure

    def fingerprint(self, library: FingerprintLibrary) -> DeviceEvent | Failure:
        """What the device can do at most, as the event that the store keeps."""
        try:
            payload = len(library.content)
            with _file("fingerprint.so", library.content) as path, self._session(payload) as session:
                description = session.describe()
                found = take_fingerprint(session, path, library)
        except SessionFailed as error:
            return error.failure
        if isinstance(found, Failure):
            return found
        return fingerprint_event(str(self.key), description, found, time.time())

    def measure(
        self,
        library: Library,
        arguments: Mapping[str, Sequence[ArgumentSpec]],
        policy: TimingPolicy,
        hygiene: Hygiene = CLEAN,
    ) -> BatchResult:
        """Time requests of a library, ``arguments`` each; what was measured before a crash is kept.

        A device that is too hot is given time to cool first, without a session.
        """
        batch = SteadyBatch(library, arguments, policy, hygiene)
        try:
            with _file("kernels.so", library.content) as path:
                if not self._take(batch, path, hygiene.cooling):
                    cool_down(hygiene.cooling, self._temperature_c)
                    self._take(batch, path, None)
        except SessionFailed as error:
            return batch.result(error.failure)
        return batch.result()

    def _take(self, batch: SteadyBatch, path: Path, cooling: Cooling | None) -> bool:
        """The batch in one session, unless the device is too hot for it."""
        with self._keeper.borrow(partial(self._session, path.stat().st_size)) as session:
            description = session.describe()
            if cooling and cooling.too_hot(description.temperature_c):
                return False
            batch.take(session, path, description)
        if again := batch.doubtful():
            with self._session(path.stat().st_size) as session:
                batch.take(session, path, session.describe(), again)
        return True

    def _temperature_c(self) -> float | None:
        description = self.describe()
        return description.temperature_c if isinstance(description, Description) else None

    def run(
        self,
        candidate: Executable,
        exact: Executable,
        inputs: Sequence[NDArray[np.float32]],
        outputs: Sequence[tuple[int, ...]],
        runs: int,
        limit_bytes: int | None = None,
    ) -> RunResult | Failure:
        """Time a configuration beside the exact one ``runs`` times, answer the inputs, find the peak memory.

        ``inputs`` are ``(samples, channels, height, width)`` of each input, ``outputs`` the shapes of one
        answer of each output. The peak has a session of its own: that of the timings holds two networks. With
        a limit that session may have no more memory: a network that dies of it needs more, and says so.
        """
        try:
            with (
                _file("candidate.so", candidate.library) as path,
                _file("exact.so", exact.library) as reference,
            ):
                shapes: Shapes = ([each.shape[1:] for each in inputs], list(outputs))
                timed: list[Mapping[str, tuple[float, ...]]] = []
                payload = candidate.transfer_bytes + exact.transfer_bytes + sum(x.nbytes for x in inputs)
                while len(timed) < SESSIONS:
                    with self._session(payload) as session:
                        session.load_network(EXACT, reference, exact.arrays, *shapes)
                        session.load_network(CANDIDATE, path, candidate.arrays, *shapes)
                        timed.append(_time_undisturbed(session, -(-runs // SESSIONS)))
                        if len(timed) == SESSIONS:
                            answers = session.predict(CANDIDATE, inputs)
                peak = self._peak_bytes(path, candidate, shapes, limit_bytes)
        except SessionFailed as error:
            return error.failure
        seconds, exact_seconds = (
            tuple(each for part in timed for each in part[name]) for name in (CANDIDATE, EXACT)
        )
        return RunResult(seconds, exact_seconds, peak, answers, SESSIONS)

    def profile(self, library: ClockedLibrary) -> ProfileResult | Failure:
        """Run configurations with a clock between their kernels: what each takes at its place.

        All of them take turns in each of ``PROFILE_SESSIONS`` sessions.
        """
        networks = networks_of(library)
        sessions: list[tuple[ClockedTimes, ...]] = []
        try:
            with _file("profile.so", library.content) as path:
                while len(sessions) < PROFILE_SESSIONS:
                    with self._session(len(library.content)) as session:
                        sessions.append(session.time_clocked(path, networks, 1, RUNS_A_TURN))
        except SessionFailed as error:
            return error.failure
        return profile_of(library, sessions)

    def _peak_bytes(self, path: Path, candidate: Executable, shapes: Shapes, limit_bytes: int | None) -> int:
        """The peak; above the limit where the network runs without one only."""
        if limit_bytes is not None:
            within = self._peak_within(path, candidate, shapes, limit_bytes)
            if within is not None:
                return within
        with self._session(2 * candidate.transfer_bytes) as session:
            peak = session.measure_peak(path, candidate.arrays, *shapes)
        return peak if limit_bytes is None else max(peak, limit_bytes + 1)

    def _peak_within(self, path: Path, candidate: Executable, shapes: Shapes, limit_bytes: int) -> int | None:
        """The peak of a network that runs within the limit; ``None`` where it dies of it."""
        for _ in range(LIMITED_ATTEMPTS):
            try:
                with self._session(2 * candidate.transfer_bytes) as session:
                    arguments = (path, candidate.arrays, *shapes, limit_bytes, RUNS_WITHIN_LIMIT)
                    return session.run_within(*arguments).peak_bytes
            except SessionFailed as error:
                if error.failure.kind not in DIES_OF_MEMORY:
                    raise
        return None

    def _session(self, payload_bytes: int = 0) -> Session:
        """With so much time on top as the payload takes on a slow link."""
        self._keeper.release()
        allowed_s = self.session_timeout_s + transfer_s(payload_bytes)
        return Session.open(self.tracker, self.key, session_timeout_s=allowed_s)


def _time_undisturbed(session: Session, runs: int) -> dict[str, tuple[float, ...]]:
    """Times of both networks; again where something else kept the device busy meanwhile.

    Either network's tail can give a disturbance away; what is a network's own comes back in every attempt.
    The calmest one counts.
    """
    turns = -(-runs // RUNS_A_TURN)
    attempts = []
    for _ in range(ATTEMPTS):
        attempts.append(session.time_networks([EXACT, CANDIDATE], turns, RUNS_A_TURN))
        if _tail(attempts[-1]) <= CALM_TAIL:
            break
    return min(attempts, key=_tail)


def _tail(seconds: Mapping[str, Sequence[float]]) -> float:
    """The 95th percentile over the median, of the network where that is the longest."""
    return max(float(np.quantile(each, 0.95) / np.median(each)) for each in seconds.values())


@contextmanager
def _file(name: str, content: bytes) -> Iterator[Path]:
    with TemporaryDirectory(prefix="blinknet-device-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path
