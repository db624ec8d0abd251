"""The end of a run for people: what every device got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median

from rich.console import Console
from rich.table import Table

from cluster.device_result import DeviceResult
from cluster.run import Outcome
from cluster.tables import plain_table
from cluster.texts import costs_cells, loss_text, nearest_text
from cost_model.latency import COVERAGE
from cost_model.speed_factors import SpeedFactor


def print_outcome(outcome: Outcome, console: Console) -> None:
    """What every device got and what was verified, then what is missing and where everything lies."""
    results = list(outcome.results.values())
    console.print(certificate_table(results))
    console.print(layer_table(results))
    if outcome.factors:
        console.print(factor_table(outcome.factors))
    if outcome.held_out_errors:
        console.print(prediction_text(outcome), markup=False, soft_wrap=True)
    for device, marks in outcome.marks.items():
        if marks.marked:
            console.print(f"{device}: {marks}", markup=False, soft_wrap=True)
    for result in outcome.results.values():
        if result.nearest:
            console.print(
                f"{result.device_text}: {nearest_text(result.nearest)}", markup=False, soft_wrap=True
            )
    for name, reason in outcome.missing.items():
        console.print(f"{name}: no configuration: {reason}", markup=False, soft_wrap=True)
    console.print(f"configurations, bundles and report: {outcome.folder.path}", markup=False, soft_wrap=True)


def prediction_text(outcome: Outcome) -> str:
    """How good predictions were, and how often their bounds held beside what was promised."""
    errors, within = outcome.held_out_errors, outcome.held_out_coverage
    text = (
        f"predicted latency of {len(errors)} kernels that the model had not seen: "
        f"median error {median(errors):.1%}, mean {fmean(errors):.1%}"
    )
    return text if within is None else f"{text}; {within:.0%} within their bounds, {COVERAGE:.0%} promised"


def certificate_table(results: Sequence[DeviceResult]) -> Table:
    """A row a device: bounds, and what was verified with its share of the exact configuration's."""
    table = plain_table("device", "bounds", right=("latency", "memory", "storage", "loss", "certificate"))
    for result in results:
        table.add_row(result.device_text, str(result.goal), *_verified(result))
    return table


def layer_table(results: Sequence[DeviceResult]) -> Table:
    """A row a layer that has weights or is opaque, a column a device: the chosen approximations."""
    table = plain_table("layer", *(each.device_text for each in results))
    if results:
        for row in zip(*(each.configuration.layers for each in results), strict=True):
            if any(each.parameter_bytes or each.operator for each in row):
                table.add_row(row[0].layer, *(each.label for each in row))
    return table


def factor_table(factors: Mapping[str, SpeedFactor]) -> Table:
    """A row a unit: what it takes by what its class's middle unit takes, with its uncertainty."""
    table = plain_table("unit", right=("speed factor", "spread", "kernels"))
    for device, each in factors.items():
        spread = "" if each.spread is None else f"±{each.spread:.1%}"
        table.add_row(device, f"{each.factor:.3f}", spread, str(each.kernels))
    return table


def _verified(result: DeviceResult) -> tuple[str, ...]:
    certificate = result.certificate
    if certificate is None:
        return ("", "", "", "", "none")
    costs = costs_cells(certificate.costs, certificate.exact, certificate.percentile)
    how = "emulated runs" if certificate.emulated else "runs"
    proof = f"{certificate.verdict}, {certificate.runs} {how}, {certificate.samples} samples"
    return (*costs, proof + loss_text(certificate))
