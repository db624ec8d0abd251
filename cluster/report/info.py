"""What a report shows, computed from what a run knows. Facts alone, no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.device_result import DeviceResult
from cluster.outputs import RunRecord
from cluster.report.bounds import BoundInfo, bounds_info
from cluster.report.frontier import FrontierInfo, frontier_info
from cluster.report.layers import LayersInfo, layers_info
from cluster.report.prediction import KernelEstimate, PredictionInfo, prediction_info
from runtime.configuration import Certificate, Configuration, Costs

__all__ = ["DeviceInfo", "Evidence", "KernelEstimate", "ReportInfo", "compute"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a run knows of one device."""

    result: DeviceResult
    cpu: str
    """The processor's name, as the device tells it."""
    exact: Configuration
    """The exact configuration on the same device, with its layers' latencies."""
    references: Mapping[str, Costs]
    """Points to compare with, by name: ``exact`` and where there is one ``int8``."""
    frontier: tuple[Costs, ...]
    """Predicted costs of configurations of which none is worse than another in everything."""
    kernels: tuple[KernelEstimate, ...]
    """Kernels that were both predicted and measured."""
    marks: str = ""
    """How many of its measurements say less than they should."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One device's section."""

    device: str
    emulated: bool
    """Whether all its latencies are an emulator's."""
    cpu: str
    target: str
    verdict: str
    objective: str
    """What was to be least inside the bounds."""
    predicted: Costs
    certificate: Certificate | None
    nearest: Mapping[str, float | None]
    bounds: tuple[BoundInfo, ...]
    frontier: FrontierInfo
    layers: LayersInfo
    prediction: PredictionInfo | None
    """``None`` where no kernel was both predicted and measured."""
    marks: str


@dataclass(frozen=True, slots=True)
class ReportInfo:
    """The whole page."""

    record: RunRecord
    devices: tuple[DeviceInfo, ...]


def compute(record: RunRecord, devices: Sequence[Evidence]) -> ReportInfo:
    """Gather what is shown of a run, devices in the order given."""
    return ReportInfo(record, tuple(_device(each) for each in devices))


def _device(evidence: Evidence) -> DeviceInfo:
    result = evidence.result
    configuration, certificate = result.configuration, result.certificate
    reached = certificate.costs if certificate else configuration.predicted
    reference = certificate.exact if certificate else evidence.references["exact"]
    return DeviceInfo(
        device=configuration.device,
        emulated=configuration.emulated,
        cpu=evidence.cpu,
        target=configuration.target,
        verdict=result.verdict,
        objective=result.objective,
        predicted=configuration.predicted,
        certificate=certificate,
        nearest=result.nearest,
        bounds=bounds_info(result.bounds, result.limits, reached, reference),
        frontier=frontier_info(evidence.frontier, reached, evidence.references, result.limits),
        layers=layers_info(configuration, evidence.exact),
        prediction=prediction_info(evidence.kernels),
        marks=evidence.marks,
    )
