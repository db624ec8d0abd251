"""Problems for the solver's benchmark: VGG-16's from a real run or its real catalogue, ResNet-50's drawn.

What is not measured is a roofline's: operations by a peak, bytes by a bandwidth, and a call. Divergences that
nobody evaluated are drawn, with a seed, larger for what computes less.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from random import Random

from benchmarks.jobs import run_file
from cluster.choices import read_choices
from cluster.job import load_inputs, load_material
from cluster.outputs import find
from cluster.planning import plan_class
from cluster.problem import Option, Problem
from cluster.settings import load_run_file
from cluster.table import Candidate, Table
from cost_model.roofline import CACHE_SPEEDUP, NEAR_BYTES, Roofline
from network.layers import Layer, Network
from network.target import Target

FORMS = {"f32": 4, "u8": 1}
"""Bytes of a value."""
METHODS: tuple[tuple[str, float, float], ...] = (
    ("exact", 1.0, 1.0),
    ("winograd", 0.5, 1.8),
    ("lowrank(3/4)", 0.85, 0.85),
    ("lowrank(1/2)", 0.6, 0.6),
    ("lowrank(1/4)", 0.35, 0.35),
    ("channels(3/4)", 0.75, 0.75),
    ("channels(1/2)", 0.5, 0.5),
    ("channels(1/4)", 0.25, 0.25),
    ("perforate(rows=2)", 0.55, 1.0),
    ("perforate(both=2)", 0.3, 1.0),
)
"""Share of operations and of parameters; with two forms read and two written there are 40 variants."""


@dataclass(frozen=True, slots=True)
class DrawnClass:
    """A device class that is made up: rates drawn from what small and large cores reach."""

    seed: int

    def roofline(self) -> Roofline:
        """Its peaks, bandwidth and call."""
        random = Random(self.seed)
        peak = 1e9 * random.uniform(8, 120)
        integer_peak, bandwidth = peak * random.uniform(1, 4), 1e9 * random.uniform(4, 25)
        return Roofline(peak, integer_peak, bandwidth, CACHE_SPEEDUP * bandwidth, 1e-6)


def measured_problem(run: Path, device_class: str) -> Problem:
    """What the first device of a class could choose from at the end of a run: measured, else predicted."""
    found = [each for each in read_choices(find(run)) if each.device.startswith(f"{device_class}.")]
    if not found:
        raise ValueError(
            f"{run} has no device of class {device_class}; `ls {run}/choices` shows those it has"
        )
    return found[0].problem


def catalogued_problem(network: str, seed: int) -> Problem:
    """A shipped network's whole catalogue for x86-64-v4; roofline latencies, drawn divergences."""
    run = load_run_file(run_file(network))
    known = load_material(run, load_inputs(run)).known
    table = plan_class("drawn", Target("x86_64-linux-gnu", "x86-64-v4", ()), known).table
    seconds = _kernel_seconds(table, DrawnClass(seed).roofline(), Random(seed))
    lost = Random(seed)
    divergence = {
        (each.layer, each.approximation): 0.0 if each.approximation == "exact" else lost.lognormvariate(-8, 2)
        for candidates in table.layers
        for each in candidates
    }
    layers = tuple(
        tuple(_option(each, seconds, divergence[each.layer, each.approximation]) for each in candidates)
        for candidates in table.layers
    )
    return Problem(layers, table.edges, table.held)


def drawn_problem(network: Network, device: DrawnClass) -> Problem:
    """Forty variants for a layer with weights, four for one without; latencies 10 % off the roofline."""
    roofline, random = device.roofline(), Random(device.seed)
    order = {layer.name: index for index, layer in enumerate(network.layers)}
    edges = tuple((order[a], order[b]) for a, b in network.edges)
    return Problem(
        tuple(tuple(_drawn_layer(network, each, roofline, random)) for each in network.layers),
        edges,
        network.held,
    )


def _kernel_seconds(table: Table, roofline: Roofline, random: Random) -> dict[str, float]:
    predicted = roofline.predict_s(list(table.samples.values())).tolist()
    return {
        key: seconds * random.lognormvariate(0, 0.1)
        for key, seconds in zip(table.samples, predicted, strict=True)
    }


def _option(candidate: Candidate, seconds: dict[str, float], divergence: float) -> Option:
    return Option(
        candidate.layer,
        candidate.key,
        sum(min(seconds[each] for each in step.requests) for step in candidate.steps),
        candidate.parameter_bytes,
        candidate.live_bytes,
        candidate.output_bytes,
        candidate.parameter_bytes,
        divergence,
        str(candidate.reads),
        str(candidate.writes),
    )


def _drawn_layer(network: Network, layer: Layer, roofline: Roofline, random: Random) -> list[Option]:
    """Divergences are the network's, not the class's: drawn from the layer's name."""
    answers = not any(producer == layer.name for producer, _ in network.edges)
    reads = FORMS if layer.inputs else ("f32",)
    writes = ("f32",) if answers else tuple(FORMS)
    lost = Random(layer.name)
    options = []
    for name, operations, parameters in METHODS if layer.has_weights else METHODS[:1]:
        harm = 0.0 if name == "exact" else (1 - min(operations, parameters)) ** 2 * lost.lognormvariate(-5, 1)
        rounding = lost.lognormvariate(-9, 1)
        for form, written in product(reads, writes):
            integer = form == "u8" and layer.has_weights
            weights = 0 if layer.weight is None else layer.weight.size
            stored = round(weights * parameters * (1 if integer else 4))
            read, made = prod(layer.input_shape) * FORMS[form], prod(layer.output_shape) * FORMS[written]
            work = 2 * prod(layer.output_shape[:2]) * weights * operations
            seconds = _roofline_s(roofline, work, read + made + stored, integer=integer)
            options.append(
                Option(
                    layer.name,
                    f"{name}:{form}>{written}",
                    seconds * random.lognormvariate(0, 0.1),
                    stored,
                    read + made,
                    made,
                    stored,
                    harm + rounding * (integer + (written == "u8")),
                    form,
                    written,
                )
            )
    return options


def _roofline_s(roofline: Roofline, operations: float, moved: float, *, integer: bool) -> float:
    peak = roofline.integer_peak if integer else roofline.float_peak
    near = min(moved, NEAR_BYTES)
    bytes_s = near / roofline.cache_bandwidth + (moved - near) / roofline.bandwidth
    return max(operations / peak, bytes_s) + roofline.overhead_s
