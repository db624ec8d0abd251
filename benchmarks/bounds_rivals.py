"""Simpler ways to keep bounds, on the same table of costs and with the same refit: they differ in the choice.

Uniform int8 and uniform channel selection are a handful of configurations for all bounds. Greedy takes, layer
by layer, the approximation that saves most of the worst exceeded quantity for the divergence that it adds.
All are believed without a run on the device: what our corrected model predicts of them counts as kept, which
favours them. Their losses are counted on the evaluation samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from cluster.choices import Choices
from cluster.goal import Goal
from cluster.outputs import write_atomically
from cluster.problem import Limits, Objective, Option, Problem, Solution
from cluster.search import target_limits
from cluster.site import Site
from cluster.solver import solve
from cost_model.accuracy import EXACT, approximation_of
from network.answers import Answers
from workers.accuracy import Bench, evaluate_configuration, exact_answers, refit_configuration
from workers.sources import accuracy_versions

INT8 = "int8"
BOUNDED: tuple[Objective, ...] = ("latency", "memory", "storage")
Variants = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rival:
    """A configuration of another method, with what it is predicted to cost."""

    method: str
    solution: Solution


class Losses:
    """Losses of configurations on the evaluation samples, counted on the host and kept in a file."""

    def __init__(self, site: Site, path: Path) -> None:
        self._path = path
        self._bench = Bench(site.material.known, site.material.evaluation)
        self._exact: Answers | None = None
        self._known: dict[str, float] = {}
        if path.is_file() and (kept := json.loads(path.read_text()))["versions"] == accuracy_versions():
            self._known = kept["losses_pp"]

    def loss_pp(self, variants: Variants) -> float:
        """Of a whole configuration, refitted as ours are."""
        key = json.dumps(variants)
        if key not in self._known:
            bench = self._bench
            self._exact = self._exact or exact_answers(bench, bench.samples.inputs, ())
            fitted = refit_configuration(bench, variants, ())
            self._known[key] = evaluate_configuration(bench, fitted, self._exact, ()).loss_pp
            kept = {"versions": accuracy_versions(), "losses_pp": self._known}
            write_atomically(self._path, json.dumps(kept) + "\n")
        return self._known[key]


def uniform(choices: Choices, degrees: Sequence[Fraction]) -> Iterator[Rival]:
    """One approximation in every layer that has it."""
    weighted = weighted_layers(choices.problem)
    for method, name in [(INT8, INT8), *(("channels", f"channels({each})") for each in degrees)]:
        wanted = {
            index: name if name in approximations(choices.problem, index) else EXACT for index in weighted
        }
        if (solution := fastest(choices.problem, wanted)) is not None:
            yield Rival(f"uniform_{method}", solution)


def greedy(choices: Choices, goal: Goal) -> Rival | None:
    """From the exact configuration on, until the bounds are predicted to be kept; ``None``: never."""
    problem = choices.problem
    resolved = goal.bounds.resolve(choices.exact)
    limits = target_limits(resolved, choices.headroom, choices.curve.divergence_for).without("divergence")
    chosen = dict.fromkeys(weighted_layers(problem), EXACT)
    seen: list[dict[int, str]] = []
    while chosen not in seen:
        seen.append(dict(chosen))
        least = _least(problem, chosen)
        exceeded = [each for each in BOUNDED if least[each] > limits.given().get(each, least[each])]
        if not exceeded:
            solution = fastest(problem, chosen)
            if solution is not None and limits.allow(solution.totals):
                return Rival("greedy", solution)
        worst = max(exceeded or BOUNDED, key=lambda each: least[each] / limits.given().get(each, least[each]))
        step = _step(problem, chosen, worst)
        if step is None:
            return None
        chosen |= step
    return None  # What saves memory costs time, and the other way round.


def within(choices: Choices, goal: Goal, solution: Solution) -> bool:
    """Whether a configuration is predicted to keep the bounds themselves, without headroom."""
    resolved = goal.bounds.resolve(choices.exact)
    return Limits(resolved.latency_s, resolved.memory_bytes, resolved.storage_bytes).allow(solution.totals)


def weighted_layers(problem: Problem) -> list[int]:
    """Layers whose approximation is to be chosen; the others follow."""
    return [index for index, layer in enumerate(problem.layers) if any(each.divergence for each in layer[1:])
            and any(each.parameter_bytes for each in layer)]  # fmt: skip


def approximations(problem: Problem, index: int) -> list[str]:
    """What a layer can be, each once."""
    return list(dict.fromkeys(approximation_of(each.variant) for each in problem.layers[index]))


def fastest(problem: Problem, chosen: Mapping[int, str]) -> Solution | None:
    """With these approximations the forms between layers that cost least time; ``None`` where none agree."""
    layers = tuple(
        tuple(each for each in layer if chosen.get(index) in (None, approximation_of(each.variant)))
        for index, layer in enumerate(problem.layers)
    )
    found = solve(replace(problem, layers=layers, forbidden=()), Limits(), "latency")
    return found if isinstance(found, Solution) else None


def _least(problem: Problem, chosen: Mapping[int, str]) -> dict[Objective, float]:
    """No configuration with these approximations costs less, whatever the forms."""
    kept = [
        [each for each in layer if chosen.get(index) in (None, approximation_of(each.variant))]
        for index, layer in enumerate(problem.layers)
    ]
    live = max(min(each.live_bytes for each in layer) for layer in kept)
    parameters = sum(min(each.parameter_bytes for each in layer) for layer in kept)
    return {
        "latency": problem.latency_offset_s + sum(min(each.latency_s for each in layer) for layer in kept),
        "memory": problem.memory_offset_bytes + parameters + live,
        "storage": problem.storage_offset_bytes
        + sum(min(each.storage_bytes for each in layer) for layer in kept),
    }


def _step(problem: Problem, chosen: Mapping[int, str], quantity: Objective) -> dict[int, str] | None:
    """The change of one layer that saves most for the divergence that it adds."""
    best, best_ratio = None, 0.0
    for index, now in chosen.items():
        options = _cheapest(problem.layers[index], quantity)
        cost, divergence = options[now]
        for name, (other_cost, other_divergence) in options.items():
            saved, added = cost - other_cost, max(other_divergence - divergence, 1e-9)
            if saved > 0 and saved / added > best_ratio:
                best, best_ratio = {index: name}, saved / added
    return best


def _cheapest(layer: Sequence[Option], quantity: Objective) -> dict[str, tuple[float, float]]:
    """Approximation to the least cost of its variants, and its divergence."""
    found: dict[str, tuple[float, float]] = {}
    for each in layer:
        name, cost = approximation_of(each.variant), _cost(each, quantity)
        if name not in found or cost < found[name][0]:
            found[name] = (cost, each.divergence)
    return found


def _cost(option: Option, quantity: Objective) -> float:
    if quantity == "memory":
        return float(option.parameter_bytes + option.live_bytes)
    return float(option.latency_s if quantity == "latency" else option.storage_bytes)
