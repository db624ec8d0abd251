"""What the report shows of each device, gathered from what the run knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cluster.choices import Choices
from cluster.decision import UNIFORM
from cluster.delivery import Delivery
from cluster.device_result import DeviceResult
from cluster.frontier import frontier
from cluster.ledger import Ledger, class_of
from cluster.report import Evidence, KernelEstimate
from cost_model.features import Sample
from cost_model.held_out import select_held_out
from cost_model.latency import LatencyModel
from runtime.configuration import Costs

HELD_OUT_SHARE = 0.25
RESOLUTION = 0.02
"""Of the figure, as a share of the latencies."""
MEMORY_LEVELS = 4


def evidence_of(
    delivery: Delivery, result: DeviceResult, choices: Choices, estimates: Sequence[KernelEstimate], cpu: str
) -> Evidence:
    """Everything about one device; ``estimates`` are those of its class."""
    device = result.configuration.device
    return Evidence(
        result=result,
        cpu=cpu,
        exact=delivery.exact_result(device).configuration,
        references=_references(delivery.ledger, device),
        frontier=_frontier(choices),
        kernels=tuple(estimates),
        marks=str(delivery.ledger.marks(device)),
    )


def _frontier(choices: Choices) -> tuple[Costs, ...]:
    found = frontier(choices.problem, resolution=RESOLUTION, memory_levels=MEMORY_LEVELS)
    return tuple(choices.costs(each) for each in found)


def estimates_of(ledger: Ledger) -> dict[str, list[KernelEstimate]]:
    """Class to measured kernels with their predictions by a model that saw three quarters of them."""
    samples = ledger.samples()
    unseen = select_held_out({each.kernel for each in samples}, HELD_OUT_SHARE, seed=1)
    seen = [each for each in samples if each.kernel not in unseen]
    predictable = _of_known_classes(samples, seen)
    if not predictable:
        return {name: [] for name in ledger.tables}
    model = LatencyModel.fit(seen, ledger.fingerprints())
    predicted, bounds = (each.tolist() for each in model.predict_with_bounds_s(predictable))
    estimates: dict[str, list[KernelEstimate]] = {name: [] for name in ledger.tables}
    for sample, seconds, bound_s in zip(predictable, predicted, bounds, strict=True):
        measured_s = sample.seconds or 0.0
        estimate = KernelEstimate(sample.kernel, seconds, measured_s, sample.kernel in unseen, bound_s)
        estimates[sample.device_class].append(estimate)
    return estimates


def _of_known_classes(samples: Sequence[Sample], seen: Sequence[Sample]) -> list[Sample]:
    classes = {each.device_class for each in seen}
    return [each for each in samples if each.device_class in classes]


def _references(ledger: Ledger, device: str) -> Mapping[str, Costs]:
    """What the uniform configurations cost when they ran on the device."""
    table = ledger.tables[class_of(device)]
    found = {}
    for name in UNIFORM:
        variants = table.uniform_variants(name)
        run = next((each for each in ledger.runs(device) if each.selection.variants == variants), None)
        if run is not None:
            found[name] = run.costs
    return found
