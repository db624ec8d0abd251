"""From variants to what can be measured: a table for each device class and what to measure of it first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from cluster.decision import UNIFORM
from cluster.table import Candidate, StepChoices, Table
from cost_model.features import Sample
from cost_model.held_out import select_held_out
from cost_model.memory import LayerMemory
from network.approximations import Catalogue
from network.build import request_key
from network.isa import Isa
from network.target import Target
from network.variants import Kernel, Variant

KernelRequest = tuple[Kernel, tuple[int, ...]]
TILES_TO_CHOOSE_FROM = 4


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """All that a run knows of a device class before anything is measured."""

    table: Table
    target: Target
    kernels: Mapping[str, KernelRequest]
    """What every request of the table compiles."""


def plan_class(device_class: str, target: Target, known: Catalogue) -> ClassPlan:
    """The table of a class: every variant that applies, packed for its instruction set."""
    network = known.network
    order = {layer.name: index for index, layer in enumerate(network.layers)}
    kernels: dict[str, KernelRequest] = {}
    layers = tuple(
        tuple(_candidate(variant, target.isa, kernels) for variant in known.variants[layer.name])
        for layer in network.layers
    )
    table = Table(
        network=network.sha256,
        device_class=device_class,
        target=target.key,
        layers=layers,
        edges=tuple((order[producer], order[consumer]) for producer, consumer in network.edges),
        samples={key: _sample(device_class, target.isa, *kernel) for key, kernel in kernels.items()},
        input_bytes=4 * sum(prod(each) for each in network.input_shapes.values()),
        held=network.held,
    )
    return ClassPlan(table, target, kernels)


def first_requests(table: Table, predicted_share: float) -> tuple[str, ...]:
    """What to measure before the first choice; the cost model predicts the rest.

    Uniform configurations are measured with all their tiles, every other variant whose element type does not
    change with its most promising one, but for a share that stays unseen. What the solver then proposes is
    measured whatever this says.
    """
    whole = dict.fromkeys(
        request
        for name in UNIFORM
        for candidate in table.uniform(name)
        for step in candidate.steps
        for request in step.requests
    )
    sampled = dict.fromkeys(
        step.requests[0]
        for candidates in table.layers
        for candidate in candidates
        if candidate.reads.dtype == candidate.writes.dtype and not candidate.writes.channels
        for step in candidate.steps
        if step.requests[0] not in whole
    )
    unseen = select_held_out(tuple(sampled), predicted_share, seed=0)
    return (*whole, *(each for each in sampled if each not in unseen))


def common_requests(table: Table, count: int) -> tuple[str, ...]:
    """What every unit of the class measures: the uniform configurations' kernels, from small to large.

    They are evenly spread by rank of their work, so that neither the small ones, which are calls and loops,
    nor the large ones, which are arithmetic, decide alone how fast a unit is.
    """
    steps = (step for name in UNIFORM for each in table.uniform(name) for step in each.steps)
    known = dict.fromkeys(step.requests[0] for step in steps)
    ordered = sorted(
        known, key=lambda key: (table.samples[key].operations + table.samples[key].moved_bytes, key)
    )
    if count >= len(ordered):
        return tuple(ordered)
    # In the middle of as many equal parts: neither the very smallest nor the very largest.
    return tuple(ordered[(2 * part + 1) * len(ordered) // (2 * count)] for part in range(count))


def _candidate(variant: Variant, isa: Isa, kernels: dict[str, KernelRequest]) -> Candidate:
    steps = []
    memory = LayerMemory.of([kernel.work(isa) for kernel in variant.kernels])
    for kernel in variant.kernels:
        tiles = kernel.tiles(isa)[:TILES_TO_CHOOSE_FROM]
        keys = tuple(request_key(kernel, tile) for tile in tiles)
        kernels.update(zip(keys, ((kernel, tile) for tile in tiles), strict=True))
        steps.append(StepChoices(kernel.key, tiles, keys))
    return Candidate(
        layer=variant.layer,
        key=variant.key,
        approximation=variant.approximation,
        reads=variant.reads,
        writes=variant.writes,
        steps=tuple(steps),
        parameter_bytes=memory.parameter_bytes,
        live_bytes=memory.live_bytes,
        output_bytes=memory.output_bytes,
    )


def _sample(device_class: str, isa: Isa, kernel: Kernel, tile: tuple[int, ...]) -> Sample:
    """The kernel as the latency model sees it: decoding stored weights makes another operator of it.

    What has no window moves sample by sample.
    """
    return Sample(
        kernel=request_key(kernel, tile),
        device_class=device_class,
        operator=type(kernel).__name__.lower() + getattr(kernel, "storage", ""),
        work=kernel.work(isa),
        integer=kernel.arguments(isa)[0].dtype == "uint8",
        tile=tile,
        input_shape=getattr(kernel, "input_shape", kernel.output_shape),
        output_shape=kernel.output_shape,
        window=getattr(kernel, "kernel", (1, 1)),
        stride=getattr(kernel, "stride", (1, 1)),
        lanes=isa.lanes,
        group=isa.group,
    )
