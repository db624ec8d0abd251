"""How wrong predicted networks are: latency and peak memory of configurations that ran end to end.

Each is predicted from everything but its own run and its own readings: kernels alone (measured, or else
predicted), what kernels of the other configurations took at their places, and the other runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.prediction_facts import Data, PlannedConfiguration
from cost_model.end_to_end import EndToEnd, Observation
from cost_model.in_context import InContext, Reading, footprints
from cost_model.latency import LatencyModel
from cost_model.measurement import NetworkRun


@dataclass(frozen=True, slots=True)
class PredictedNetwork:
    """A configuration that ran, with what was expected of it."""

    network: str
    device_class: str
    measured_s: float
    predicted_s: float
    kernels_s: float
    """Plain sum of its kernels alone."""
    measured_bytes: int
    predicted_bytes: int

    @property
    def latency_error(self) -> float:
        """Relative, without sign."""
        return abs(self.predicted_s / self.measured_s - 1)

    @property
    def sum_error(self) -> float:
        """The same of the plain sum."""
        return abs(self.kernels_s / self.measured_s - 1)

    @property
    def memory_error(self) -> float:
        """The same of the peak."""
        return abs(self.predicted_bytes / self.measured_bytes - 1)


def predicted_networks(data: Data, model: LatencyModel) -> list[PredictedNetwork]:
    """Every configuration of a network on a class but the exact one, which others are measured beside."""
    alone_s = _alone_s(data, model)
    return [
        _predicted(data, alone_s, index)
        for index, (planned, _) in enumerate(data.runs)
        if not _exact(data, planned)
    ]


def _exact(data: Data, planned: PlannedConfiguration) -> bool:
    return planned.key == data.facts.configurations[0].key


def _alone_s(data: Data, model: LatencyModel) -> dict[str, float]:
    """Request to seconds alone, measured or else predicted."""
    known = {each.kernel: each.seconds for each in data.samples if each.seconds is not None}
    unseen = [each for each in data.facts.samples if each.kernel not in known]
    return known | dict(zip((each.kernel for each in unseen), model.predict_s(unseen).tolist(), strict=True))


def _predicted(data: Data, alone_s: Mapping[str, float], index: int) -> PredictedNetwork:
    planned, run = data.runs[index]
    others = [each for at, each in enumerate(data.runs) if at != index]
    context = _context(data, alone_s, planned.key)
    bytes_of = {each.kernel: each.work.parameter_bytes for each in data.facts.samples}

    def sum_s(each: PlannedConfiguration) -> float:
        places = zip(each.layers, each.requests, strict=True)
        if context is None:
            return sum(alone_s[request] for _, request in places)
        placed = context.at(sum(bytes_of[request] for request in each.requests))
        return sum(placed.seconds(place, alone_s[place[1]], bytes_of[place[1]]) for place in places)

    usual_s = median(_exact_s(each) for _, each in data.runs)
    observations = [Observation(sum_s(each), _median_s(that, usual_s)) for each, that in others]
    model = (
        EndToEnd.fit(observations) if context is None else EndToEnd.in_context(observations, context.rest_s)
    )
    beside_bytes = [that.peak_bytes - each.planned_bytes for each, that in others][-1]
    return PredictedNetwork(
        data.facts.network,
        data.facts.device_class,
        _median_s(run, usual_s),
        model.predict_s(sum_s(planned)),
        sum(alone_s[request] for request in planned.requests),
        run.peak_bytes,
        planned.planned_bytes + beside_bytes,
    )


def _context(data: Data, alone_s: Mapping[str, float], without: str) -> InContext | None:
    """From the readings of all configurations but one."""
    readings = [each for each in data.readings if each.configuration != without]
    if not readings:
        return None
    bytes_of = {each.kernel: each.work.parameter_bytes for each in data.facts.samples}
    sized = footprints(readings, bytes_of)
    placed = [
        Reading((each.layer, each.kernel), sized[each.configuration], each.median_s) for each in readings
    ]
    return InContext(placed, median(each.rest_s for each in readings), alone_s, bytes_of)


def _exact_s(run: NetworkRun) -> float:
    return median(run.exact_seconds)


def _median_s(run: NetworkRun, usual_s: float) -> float:
    """Under the conditions in which the exact configuration beside it takes what it usually does."""
    return median(run.seconds) * usual_s / _exact_s(run)


def shares(values: Sequence[float], limit: float) -> float:
    """Of those that are at most the limit."""
    return sum(each <= limit for each in values) / len(values)
