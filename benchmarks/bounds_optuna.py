"""Optuna's NSGA-II and TPE beside us: the same variants, device and refit, and as much device time.

A study minimises loss, latency, peak memory and storage at once, within constraints as Optuna documents them
(``Trial.set_constraint``, not above 0): the loosest bounds that are asked for anywhere. A trial picks an
approximation for every layer with weights; the forms between layers are those that cost least time. It is
refitted, its loss is counted on the calibration samples, and it runs on the device as a configuration of
ours does. The exact configuration and uniform int8 are given to it for a start. All trials are made once for
a class and network; each triple is then answered by the best of them all that kept its bounds: that favours
it, since no study of one triple's own would see as many trials.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from benchmarks.bounds_answers import Due
from benchmarks.bounds_rivals import approximations, fastest, weighted_layers
from benchmarks.bounds_triples import LATENCIES, MEMORIES, STORAGES
from cluster.choices import Choices
from cluster.goal import Goal
from cluster.problem import Solution
from cluster.selection import Selection, selected
from cluster.site import Site
from cost_model.accuracy import EXACT
from runtime.configuration import Costs, percentile_upper_bound
from runtime.records import from_plain, to_plain
from tracker.device import DeviceKey
from workers.accuracy import Effect
from workers.device import RunResult

INT8 = "int8"
LOOSEST = {"latency": max(LATENCIES) / 100, "memory": max(MEMORIES) / 100, "storage": max(STORAGES) / 100}
IMPOSSIBLE = 10.0
"""How far beyond its constraints something counts that has no forms that agree, or did not run."""
SAMPLERS = ("nsga2", "tpe")
SEED = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """A configuration that ran; a proposal that could not run has no costs."""

    names: Mapping[str, str]
    """Index of the layer to its approximation."""
    costs: Costs | None
    """The loss is that on the evaluation samples."""
    exact: Costs | None
    counted_pp: float
    """The loss on the calibration samples: what the study sees and trials are chosen by."""
    device_s: float
    """How long the device was held for it."""

    def keeps(self, goal: Goal) -> bool:
        """Whether its run kept the bounds, beside the exact configuration of the same session."""
        if self.costs is None or self.exact is None:
            return False
        return not goal.bounds.resolve(self.exact).violated(self.costs)

    @property
    def shares(self) -> tuple[float, ...]:
        """Latency, memory and storage by the exact configuration's."""
        if self.costs is None or self.exact is None:
            return (IMPOSSIBLE,) * 3
        pairs = [(getattr(each, name) for each in (self.costs, self.exact)) for name in _COSTS]
        return tuple(float(own / exact) for own, exact in pairs)


_COSTS = ("latency_s", "peak_bytes", "storage_bytes")


class Bench:
    """Runs proposals on one device of a site; what it finds out our own search never sees."""

    def __init__(self, site: Site, device: str, choices: Choices, latency_s: Mapping[str, float]) -> None:
        self._site, self._device, self._choices = site, device, choices
        self._class = device.partition(".")[0]
        self._latency_s = latency_s
        self._confidence = site.job.verify.confidence

    def trial(self, names: Mapping[int, str]) -> Trial:
        """Refit, evaluate and run what has these approximations."""
        kept = {str(index): name for index, name in names.items()}
        solution = fastest(self._choices.problem, names)
        if solution is None:
            return Trial(kept, None, None, 100.0, 0.0)
        selection = self._selection(solution)
        exact = self._selection_of(self._site.plans[self._class].table.uniform_variants(EXACT))
        work, table = self._site.work, self._class
        wanted = [work.executable(table, each) for each in (selection, exact)]
        counted, *_ = ray.get([work.evaluate_jointly(selection.variants), *wanted])
        began = time.monotonic()
        actor = self._site.crew.device(DeviceKey.parse(self._device))
        result = ray.get(work.run(actor, table, selection, exact, None))
        device_s = time.monotonic() - began
        if not isinstance(result, RunResult):
            return Trial(kept, None, None, 100.0, device_s)
        return self._ran(kept, solution, result, counted, device_s)

    def _ran(
        self, kept: Mapping[str, str], solution: Solution, result: RunResult, counted: Effect, device_s: float
    ) -> Trial:
        answers = self._site.work.effect(result.answers)
        own, exact = (self._bound_s(each) for each in (result.seconds, result.exact_seconds))
        lost_pp = answers.loss_pp
        # A bundle is written for what is handed over alone; what one takes is known to a few bytes.
        storage = solution.totals.storage_bytes
        return Trial(
            kept,
            Costs(own, result.peak_bytes, storage, lost_pp),
            Costs(exact, self._choices.exact.peak_bytes, self._choices.exact.storage_bytes, 0.0),
            counted.loss_pp,
            device_s,
        )

    def _bound_s(self, seconds: tuple[float, ...]) -> float:
        return percentile_upper_bound(seconds, self._choices.bounds.percentile, self._confidence)

    def _selection(self, solution: Solution) -> Selection:
        return self._selection_of(solution.variants)

    def _selection_of(self, variants: tuple[str, ...]) -> Selection:
        return selected(self._site.plans[self._class].table, variants, self._latency_s)


def study(
    sampler: str, bench: Bench, choices: Choices, path: Path, enough: Callable[[list[Trial]], bool], due: Due
) -> list[Trial]:
    """Trials of a sampler, those of earlier calls first; until they are enough, or time is up."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    problem = choices.problem
    space = {str(index): approximations(problem, index) for index in weighted_layers(problem)}
    trials = read_trials(path)
    found = optuna.create_study(
        directions=["minimize"] * 4, sampler=_sampler(optuna, sampler, seed=SEED + len(trials))
    )
    for each in trials:
        found.add_trial(_told(optuna, each, space))
    for name in (EXACT, INT8)[len(trials) :]:
        found.enqueue_trial({index: name if name in names else EXACT for index, names in space.items()})
    while not (enough(trials) or due()):
        asked = found.ask(
            {key: optuna.distributions.CategoricalDistribution(names) for key, names in space.items()}
        )
        trial = bench.trial({int(key): name for key, name in asked.params.items()})
        for quantity, excess in _excess(trial).items():
            asked.set_constraint(quantity, excess)
        found.tell(asked, [trial.counted_pp, *trial.shares])
        trials.append(trial)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_plain(trial)) + "\n")
    return trials


def read_trials(path: Path) -> list[Trial]:
    """Those of earlier calls."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [from_plain(Trial, json.loads(each), str(path)) for each in lines]


def best(trials: list[Trial], goal: Goal) -> Trial | None:
    """Of those that kept the bounds, the one that loses least on the calibration samples."""
    return min((each for each in trials if each.keeps(goal)), key=lambda each: each.counted_pp, default=None)


def _sampler(optuna: Any, name: str, seed: int) -> Any:
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=10, seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def _excess(trial: Trial) -> dict[str, float]:
    """Not above 0 where the loosest bounds are kept."""
    pairs = zip(LOOSEST.items(), trial.shares, strict=True)
    return {quantity: share - bound for (quantity, bound), share in pairs}


def _told(optuna: Any, trial: Trial, space: Mapping[str, list[str]]) -> Any:
    """A trial of an earlier call as the study would have kept it."""
    return optuna.trial.create_trial(
        params=dict(trial.names),
        distributions={
            key: optuna.distributions.CategoricalDistribution(names) for key, names in space.items()
        },
        values=[trial.counted_pp, *trial.shares],
        constraints=_excess(trial),
    )
