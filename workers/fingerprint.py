"""Takes a device's fingerprint: one session, about a second."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cost_model.fingerprint import Fingerprint
from tracker.failure import Failure
from tracker.session import Session
from tracker.timing import Timing, TimingPolicy, TimingRequest
from workers.fingerprint_kernels import FingerprintLibrary, Purpose

POLICY: Final = TimingPolicy(relative_ci=0.01, budget_s=0.2)


def take_fingerprint(session: Session, path: Path, library: FingerprintLibrary) -> Fingerprint | Failure:
    """Time the library at ``path`` in a session; the first failure where a figure cannot be had."""
    requests = [TimingRequest(each.symbol, each.arguments) for each in library.probes]
    outcomes = session.time_functions(path, requests, POLICY)
    best_s: dict[Purpose, float] = {}
    rates: dict[Purpose, float] = {}
    for probe, outcome in zip(library.probes, outcomes, strict=True):
        if isinstance(outcome, Timing):
            best_s[probe.purpose] = min(outcome.median_s, best_s.get(probe.purpose, outcome.median_s))
            rates[probe.purpose] = probe.amount / best_s[probe.purpose] / 1e9
    if len(best_s) < len({each.purpose for each in library.probes}):
        return next(each for each in outcomes if isinstance(each, Failure))
    return Fingerprint(rates["float32"], rates["int8"], rates["bandwidth"], best_s["call"])
