"""``blinknet configure --fewest``: as few bundles as keep the bounds of all devices of a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from cluster.choices import Choices
from cluster.errors import ClusterError
from cluster.fewest import SharedBundle, UnitChoices, fewest_bundles
from cluster.goal import Goal
from cluster.problem import totals_of
from cluster.tables import plain_table
from cluster.texts import layers_text
from cost_model.accuracy import approximation_of


def show_fewest(chosen: Sequence[Choices], goals: Sequence[Goal], console: Console) -> int:
    """Print each bundle with its devices; 1 where a device is left that none helps.

    Raises ``ClusterError`` where something else than the loss is to be least.
    """
    if other := [each.objective for each in goals if each.objective != "loss"]:
        raise ClusterError(f"the fewest bundles lose least, not {other[0]}; add --objective loss")
    units = [
        UnitChoices(each.device, each.target_limits(goal), {each.target or _class(each): each.problem})
        for each, goal in zip(chosen, goals, strict=True)
    ]
    shared = fewest_bundles(units)
    known = {each.device: each for each in chosen}
    table = plain_table("bundle", "devices", "layers", right=("largest latency", "largest loss"))
    for number, bundle in enumerate(shared.bundles, start=1):
        table.add_row(str(number), " ".join(bundle.devices), *_cells(bundle, known))
    console.print(table)
    for device in shared.uncovered:
        words = "no configuration keeps its bounds; without --fewest the nearest feasible are shown"
        console.print(f"{device}: {words}", markup=False)
    console.print(
        f"{len(shared.bundles)} bundles for {len(units) - len(shared.uncovered)} devices, "
        f"the fewest over {shared.candidates} candidates (gap {shared.gap:.1%}); devices share where their "
        "target is the same; predicted from measurements",
        markup=False,
        soft_wrap=True,
    )
    return int(bool(shared.uncovered))


def _class(choices: Choices) -> str:
    return choices.device.partition(".")[0]


def _cells(bundle: SharedBundle, known: dict[str, Choices]) -> tuple[str, str, str]:
    costs = []
    for device in bundle.devices:
        problem = known[device].problem
        names = [[each.variant for each in layer] for layer in problem.layers]
        choice = [layer.index(name) for layer, name in zip(names, bundle.variants, strict=True)]
        totals = totals_of(problem, choice)
        costs.append((totals.latency_s, known[device].curve.loss_pp(totals.divergence)))
    layers = known[bundle.devices[0]].problem.layers
    weighted = [
        (option.layer, approximation_of(option.variant))
        for layer, name in zip(layers, bundle.variants, strict=True)
        for option in layer
        if option.variant == name and option.parameter_bytes
    ]
    latency_s, loss_pp = (max(several) for several in zip(*costs, strict=True))
    return layers_text(weighted), f"{latency_s * 1e3:.3f} ms", f"{loss_pp:+.2f} pp"
