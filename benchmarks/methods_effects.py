"""What every approximation of every layer costs and loses, each alone among exact layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.kernel_times import RUNS, timed_kernels
from network.approximations import Catalogue, catalogue, method_names
from network.build import request_key
from network.onnx_import import load
from network.samples import load_samples
from network.target import Target
from network.variants import Variant
from workers.accuracy import EXACT, Bench, evaluate_layer

EXAMPLES = Path(__file__).parents[1] / "examples"
TILES = 3
ROUNDS = 5
TOLERANCE = 0.02
"""By which share costs and divergences may differ and count as the same."""


@dataclass(frozen=True, slots=True)
class Row:
    """One approximation of one layer; costs are shares of the exact layer's."""

    layer: str
    approximation: str
    offered: bool
    """Whether a run that names it may choose it."""
    operations: float
    weights: float
    time: float
    divergence: float

    def beats(self, other: Row) -> bool:
        """Whether it is as good a choice for that layer, whatever the bounds."""
        return (
            self.layer == other.layer
            and self.operations <= other.operations + TOLERANCE
            and self.weights <= other.weights + TOLERANCE
            and self.divergence <= other.divergence * (1 + TOLERANCE)
        )


def effects(network_name: str, fitted: int, judged: int) -> list[Row]:
    """Of an example network, fitted to and judged on so many samples; layer by layer, cheapest first."""
    network = load(EXAMPLES / network_name / "model.onnx")
    samples = load_samples(EXAMPLES / "fashion_mnist" / "calibration.npz", network, scale=1 / 255)
    everything, offered = (
        catalogue(network, samples.take(fitted), method_names(), prune=prune) for prune in (False, True)
    )
    bench = Bench(everything, samples.take(judged))
    return [
        row
        for layer in network.layers
        if layer.has_weights
        for row in sorted(_rows(bench, offered, layer.name), key=lambda row: (row.operations, row.weights))
    ]


def _rows(bench: Bench, offered: Catalogue, layer: str) -> Iterator[Row]:
    chosen = {
        each.approximation: bench.known.alone(layer, each.approximation)
        for each in bench.known.variants[layer]
        if "+" not in each.approximation
    }
    kept = {each.approximation for each in offered.variants[layer]}
    lost = evaluate_layer(bench, layer, list(chosen), ()).effects
    seconds = _seconds(list(chosen.values()))
    isa = Target.host().isa
    work = {name: [kernel.work(isa) for kernel in variant.kernels] for name, variant in chosen.items()}
    macs, stored = (
        {name: sum(getattr(each, field) for each in several) for name, several in work.items()}
        for field in ("macs", "parameter_bytes")
    )
    for name in lost:
        yield Row(
            layer,
            name,
            name in kept,
            macs[name] / macs[EXACT],
            stored[name] / stored[EXACT],
            seconds[name] / seconds[EXACT],
            lost[name].divergence,
        )


def _seconds(variants: list[Variant]) -> dict[str, float]:
    """Of each approximation: its kernels with their fastest tiles."""
    target = Target.host()
    requests = {
        kernel: {request_key(kernel, tile): (kernel, tile) for tile in kernel.tiles(target.isa)[:TILES]}
        for variant in variants
        for kernel in variant.kernels
    }
    with TemporaryDirectory() as folder:
        together = {key: each for several in requests.values() for key, each in several.items()}
        timed = timed_kernels(together, target, Path(folder) / "kernels.so", network_bytes=0)
        fastest = {
            kernel: min(timed[key].near(RUNS) for key in several for _ in range(ROUNDS))
            for kernel, several in requests.items()
        }
    return {each.approximation: sum(fastest[kernel] for kernel in each.kernels) for each in variants}
