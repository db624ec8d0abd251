"""``blinknet configure``: other bounds, answered from what a run has measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cluster.choices import Choices, read_choices
from cluster.configure_fewest import show_fewest
from cluster.errors import ClusterError
from cluster.goal import Goal, Objective
from cluster.outputs import find
from cluster.problem import Infeasible, Solution
from cluster.tables import plain_table
from cluster.texts import bounds_text, costs_cells, device_text, layers_text, nearest_text
from cost_model.accuracy import approximation_of
from runtime.bounds import Bound, Bounds


def configure(
    run: Path,
    bounds: Sequence[Bound],
    objective: Objective | None,
    device: str | None,
    console: Console,
    *,
    fewest: bool = False,
) -> int:
    """Print what each device would get; 1 where some device cannot keep its bounds.

    The bounds replace those of the same kind that the run stated, an objective replaces the run's. With
    ``fewest`` devices share as few bundles as can be, and each is shown with who runs it. Raises
    errors of our packages for a folder that is no run, for a device that it does not have, and for an
    objective that needs a bound on the loss where there is none.
    """
    chosen = [
        each
        for each in read_choices(find(run))
        if device in (None, each.device, each.device.partition(".")[0])
    ]
    if not chosen:
        raise ClusterError(f"{run} has no device {device}; `ls {run}/configs` shows those it has")
    goals = [Goal(each.bounds.override(*bounds), objective or each.objective) for each in chosen]
    for each, goal in zip(chosen, goals, strict=True):
        if flaw := goal.flaw():
            raise ClusterError(f"the objective of {each.device} {flaw}")
    if fewest:
        return show_fewest(chosen, goals, console)
    solved = [(each, goal, each.answer(goal)) for each, goal in zip(chosen, goals, strict=True)]
    console.print(_table(solved))
    for each, goal, answer in solved:
        if isinstance(answer, Infeasible):
            name = device_text(each.device, emulated=each.emulated)
            console.print(f"{name}: {nearest_text(each.nearest(answer))}", markup=False)
            if wider := each.widened(goal, answer):
                share = f"{answer.stretch:.1%}"
                console.print(f"{name}: or all of them {share} wider: {bounds_text(wider)}", markup=False)
    console.print("predicted from measurements; `blinknet run` with these bounds verifies on the device")
    return int(any(isinstance(answer, Infeasible) for _, _, answer in solved))


def _table(solved: Sequence[tuple[Choices, Goal, Solution | Infeasible]]) -> Table:
    table = plain_table("device", "bounds", "layers", right=("latency", "memory", "storage", "loss", ""))
    for choices, goal, answer in solved:
        name = device_text(choices.device, emulated=choices.emulated)
        table.add_row(name, str(goal), *_cells(choices, goal.bounds, answer))
    return table


def _cells(choices: Choices, bounds: Bounds, answer: Solution | Infeasible) -> tuple[str, ...]:
    solution = answer if isinstance(answer, Solution) else answer.best_effort
    verdict = "predicted" if isinstance(answer, Solution) else "predicted best effort"
    if solution is None:
        return ("", "", "", "", "", "no configuration")
    options = [layer[index] for layer, index in zip(choices.problem.layers, solution.choice, strict=True)]
    named = [(each.layer, approximation_of(each.variant)) for each in options if each.parameter_bytes]
    *costs, _ = costs_cells(choices.costs(solution), choices.exact, bounds.percentile)
    return (layers_text(named), *costs, str(choices.loss(solution)), verdict)
