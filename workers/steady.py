"""Times the requests of a library in one session, and notices when the device's speed changes meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tracker.cooling import Cooling
from tracker.device import Description
from tracker.drift import (
    READING_POLICY,
    Drift,
    DriftPolicy,
    Span,
    corrected,
    drift_share,
    reading_s,
    segments,
    worst,
)
from tracker.failure import Failure
from tracker.session import Session
from tracker.timing import ArgumentSpec, Timing, TimingPolicy, TimingRequest
from workers.build import Library

KILLS_A_SESSION: Final = ("crash", "timeout")


@dataclass(frozen=True, slots=True)
class Hygiene:
    """What is done so that one measurement can be compared with another."""

    drift: DriftPolicy = field(default_factory=DriftPolicy)
    cooling: Cooling = field(default_factory=Cooling)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch: a timing, or a refusal, for each request that got that far."""

    timings: Mapping[str, Timing | Failure]
    culprit: str | None = None
    """The request that was running when the session died."""
    failure: Failure | None = None
    """Why there is no more."""
    drift: Drift | None = None
    """Where the device did not stay as fast as it was."""


class _EndedError(Exception):
    """The session is over."""


@dataclass(slots=True)
class SteadyBatch:
    """One batch under way; ``result`` is what there is of it at any moment."""

    library: Library
    arguments: Mapping[str, Sequence[ArgumentSpec]]
    policy: TimingPolicy
    hygiene: Hygiene
    timings: dict[str, Timing | Failure] = field(default_factory=dict)
    _culprit: str | None = None
    _failure: Failure | None = None
    _drifts: list[Drift] = field(default_factory=list)

    def result(self, failure: Failure | None = None) -> BatchResult:
        """With the failure that ended it, if it was not one of its own."""
        return BatchResult(self.timings, self._culprit, self._failure or failure, worst(self._drifts))

    def doubtful(self) -> tuple[str, ...]:
        """What the device refused, to be taken once more: out of memory, it refuses what it can run.

        Until then nothing is known of it. Empty where a session has died of the batch.
        """
        refused = tuple(each for each, got in self.timings.items() if isinstance(got, Failure))
        for each in refused:
            del self.timings[each]
        return refused if self._failure is None else ()

    def take(
        self,
        session: Session,
        path: Path,
        description: Description,
        requests: Sequence[str] | None = None,
    ) -> None:
        """Time all requests, or these, with the library at ``path``, until they are through or it ends.

        What lies between two readings of the reference that differ is timed once more. Where the device then
        still is not what it was at the beginning, timings are corrected by the reference, and flagged.
        """
        try:
            first = before = self._read(session, path)
            every = list(self.arguments if requests is None else requests)
            for segment in segments(every, self.hygiene.drift.every):
                self._time(session, path, segment)
                after = self._read(session, path)
                if before and after and Span(before, after).moved(self.hygiene.drift.share):
                    self._time(session, path, segment)
                    before, after = after, self._read(session, path)
                if first and before and after:
                    self._correct(segment, first, Span(before, after))
                before = after
                self._note(segment, session, description)
        except _EndedError:
            return

    def _time(self, session: Session, path: Path, segment: Sequence[str]) -> None:
        requests = [TimingRequest(self.library.symbols[each], self.arguments[each]) for each in segment]
        outcomes = session.stream_timings(path, requests, self.policy)
        for request, outcome in zip(segment, outcomes, strict=True):
            if isinstance(outcome, Failure) and outcome.kind != "refused":
                self._culprit = request if outcome.kind in KILLS_A_SESSION else None
                self._end(outcome)
            self.timings[request] = outcome

    def _read(self, session: Session, path: Path) -> float | None:
        """The reference's reading, in seconds; ``None`` for a library without one."""
        if self.library.reference is None:
            return None
        (outcome,) = session.time_functions(path, [self.library.reference], READING_POLICY)
        if isinstance(outcome, Timing):
            return reading_s(outcome)
        if outcome.kind != "refused":
            self._end(outcome)
        return None

    def _end(self, failure: Failure) -> None:
        self._failure = failure
        raise _EndedError

    def _correct(self, segment: Sequence[str], first_s: float, span: Span) -> None:
        share = drift_share(first_s, span, self.hygiene.drift.share)
        timed = {each: got for each in segment if isinstance(got := self.timings[each], Timing)}
        for request, timing in timed.items():
            conditions = {**timing.conditions, "reference_s": span.level_s}
            self.timings[request] = corrected(replace(timing, conditions=conditions), share)
        if share is not None and timed:
            self._drifts.append(Drift(share, first_s, span.level_s, len(timed)))

    def _note(self, segment: Sequence[str], session: Session, before: Description) -> None:
        """Clock and temperature, where the device reports them: the latter as it is behind the segment."""
        now = session.describe() if before.temperature_c is not None else before
        said = {"clock_hz": now.clock_hz, "temperature_c": now.temperature_c}
        noted = {name: each for name, each in said.items() if each is not None}
        if self.hygiene.cooling.too_hot(before.temperature_c):
            noted["hot"] = 1.0
        for request in segment:
            if isinstance(timing := self.timings[request], Timing):
                self.timings[request] = replace(timing, conditions={**timing.conditions, **noted})
