"""Configurations drawn near the losses that people bound, evaluated on both sets of samples."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.bounds_rivals import fastest
from benchmarks.jobs import run_file
from cluster.job import load_inputs, load_material
from cluster.planning import plan_class
from cluster.problem import Option, Problem
from cluster.settings import load_run_file
from cost_model.accuracy import EXACT
from network.target import Target
from runtime.records import from_plain, to_plain
from workers.accuracy import (
    Bench,
    Effect,
    evaluate_configuration,
    evaluate_layer,
    exact_answers,
    forget,
    refit_configuration,
)

TRUTH = 4000
"""Evaluation samples; the noise of a paired loss is then about 0.15 points."""
EACH = 14
"""Approximations of a layer with weights that take part besides int8, drawn once."""
DIVERGENCES = (-2.5, -1.15)
"""Logarithms of sums over the layers, in nats: losses of about 0.2 to 3 points."""
PICKED, LARGEST_PART = 0.85, 0.7
"""Share of layers that are approximated, and of what is left of the sum that one layer may take."""
SEED = 5


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A configuration with its effects."""

    names: Mapping[str, str]
    """Layer to its approximation; layers without weights follow, and exact ones are left out."""
    counted: Effect
    """On the calibration samples."""
    truth: Effect | None = None
    """On evaluation samples, where several layers are approximated."""


class Ground:
    """A network with its samples, and the configurations of it that were evaluated."""

    def __init__(self, network: str, path: Path) -> None:
        self._path = path
        self.known = read(path)
        run = load_run_file(run_file(network))
        material = load_material(run, load_inputs(run))
        self._bench = Bench(material.known, material.calibration)
        self._truth = Bench(material.known, material.evaluation.take(TRUTH))
        self._table = plan_class("any", Target.host(), material.known).table
        weighted = {each.name for each in material.network.layers if each.has_weights}
        self._weighted = [at for at, each in enumerate(self._table.layers) if each[0].layer in weighted]
        self._names = {self._layer(at): self._some(at) for at in self._weighted}
        self._exact, self._exact_truth = (
            exact_answers(each, each.samples.inputs, ()) for each in (self._bench, self._truth)
        )

    def single_effects(self) -> None:
        """Of every layer's approximations that take part."""
        there = {tuple(each.names.items()) for each in self.known}
        for layer, names in self._names.items():
            missing = [name for name in names if ((layer, name),) not in there]
            found = evaluate_layer(self._bench, layer, missing, ()).effects if missing else {}
            self._keep(Evaluated({layer: name}, effect) for name, effect in found.items())

    def configurations(self, count: int) -> None:
        """Evaluate random ones until there are so many."""
        problem = self._problem()
        draws = random.Random(SEED + len(self.known))
        while sum(each.truth is not None for each in self.known) < count:
            names, variants = self._draw(problem, draws)
            fitted = refit_configuration(self._bench, variants, ())
            counted = evaluate_configuration(self._bench, fitted, self._exact, ())
            truth = evaluate_configuration(self._truth, fitted, self._exact_truth, ())
            self._keep([Evaluated(names, counted, truth)])

    def cost_s(self) -> tuple[float, float]:
        """Processor seconds of an evaluation with its refit: as a search does it, and with nothing kept.

        One layer changes from each configuration to the next, each layer with weights once. All kernels are
        compiled before.
        """
        problem, draws = self._problem(), random.Random(SEED)
        names, first = self._draw(problem, draws)
        neighbours = []
        for at in self._weighted:
            names, variants = self._neighbour(problem, names, self._layer(at), draws)
            neighbours.append(variants)
        for variants in (*neighbours, first):
            self._timed(variants, afresh=True)
        kept_s, whole_s = (
            fmean(self._timed(variants, afresh=afresh) for variants in neighbours) for afresh in (False, True)
        )
        return kept_s, whole_s

    def _timed(self, variants: Sequence[str], *, afresh: bool) -> float:
        if afresh:
            forget()
        began = time.process_time()
        evaluate_configuration(self._bench, refit_configuration(self._bench, variants, ()), self._exact, ())
        return time.process_time() - began

    def _neighbour(
        self, problem: Problem, names: dict[str, str], layer: str, draws: random.Random
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """The same with another approximation of one layer, where the forms between layers agree."""
        others = [each for each in self._names[layer] if each != names.get(layer)]
        for other in draws.sample(others, len(others)):
            try:
                return (changed := {**names, layer: other}), self._variants(problem, changed)
            except LookupError:
                continue
        raise LookupError(f"{layer} can be nothing else beside {names}; draw another configuration")

    def _draw(self, problem: Problem, draws: random.Random) -> tuple[dict[str, str], tuple[str, ...]]:
        """A configuration whose layers together reach a divergence of interest, with its variants."""
        alone = self._alone()
        left, names = 10 ** draws.uniform(*DIVERGENCES), {}
        for at in draws.sample(self._weighted, len(self._weighted)):
            layer = self._layer(at)
            fitting = sorted(
                (name for name in self._names[layer] if alone[layer, name] <= LARGEST_PART * left),
                key=lambda name: -alone[layer, name],
            )
            if fitting and draws.random() < PICKED:
                names[layer] = fitting[min(int(draws.expovariate(0.5)), len(fitting) - 1)]
                left -= alone[layer, names[layer]]
        try:
            return names, self._variants(problem, names)
        except LookupError:
            return self._draw(problem, draws)

    def _variants(self, problem: Problem, names: Mapping[str, str]) -> tuple[str, ...]:
        """Raises ``LookupError`` where no forms between the layers agree."""
        found = fastest(problem, {at: names.get(self._layer(at), EXACT) for at in self._weighted})
        if found is None:
            raise LookupError(names)
        return found.variants

    def _problem(self) -> Problem:
        """All variants of the approximations that take part; time is not asked for."""
        alone = self._alone()
        layers = tuple(
            tuple(
                Option(
                    layer=each.layer,
                    variant=each.key,
                    latency_s=1.0,
                    parameter_bytes=0,
                    live_bytes=0,
                    output_bytes=0,
                    storage_bytes=0,
                    divergence=alone.get((each.layer, each.approximation), 0.0),
                    reads=str(each.reads),
                    writes=str(each.writes),
                )
                for each in candidates
                if each.approximation in (EXACT, *self._names.get(each.layer, (each.approximation,)))
            )
            for candidates in self._table.layers
        )
        return Problem(layers, self._table.edges, self._table.held)

    def _alone(self) -> dict[tuple[str, str], float]:
        singles = (each for each in self.known if each.truth is None)
        return {pair: each.counted.divergence for each in singles for pair in each.names.items()}

    def _some(self, at: int) -> list[str]:
        every = dict.fromkeys(each.approximation for each in self._table.layers[at])
        others = [name for name in every if name not in (EXACT, "int8")]
        drawn = random.Random(f"{SEED} {at}").sample(others, min(EACH, len(others)))
        return [name for name in ("int8", *drawn) if name in every]

    def _layer(self, at: int) -> str:
        return self._table.layers[at][0].layer

    def _keep(self, found: Iterable[Evaluated]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            for each in found:
                self.known.append(each)
                file.write(json.dumps(to_plain(each)) + "\n")
                file.flush()


def read(path: Path) -> list[Evaluated]:
    """What a file of them holds; nothing where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [from_plain(Evaluated, json.loads(each), str(path)) for each in lines]
