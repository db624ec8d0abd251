"""The end of a run for people: what every device got."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cluster.device_result import DeviceResult
from cluster.run import Outcome
from cluster.texts import costs_cells, layers_text, nearest_text


def print_outcome(outcome: Outcome, console: Console) -> None:
    """A table of devices, then what is missing and where everything lies."""
    console.print(outcome_table(list(outcome.results.values())))
    for device, result in outcome.results.items():
        if result.nearest:
            console.print(f"{device}: {nearest_text(result.nearest)}", markup=False)
    for name, reason in outcome.missing.items():
        console.print(f"{name}: no configuration: {reason}", markup=False)
    console.print(f"configurations, bundles and report: {outcome.folder.path}", markup=False)


def outcome_table(results: list[DeviceResult]) -> Table:
    """A row a device: bounds, chosen approximation per layer, what was verified, and the verdict."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("device", "bounds", "layers"):
        table.add_column(heading, overflow="fold")
    for heading in ("latency", "memory", "storage", "loss", "certificate"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(*_row(result))
    return table


def _row(result: DeviceResult) -> tuple[str, ...]:
    configuration, certificate = result.configuration, result.certificate
    layers = layers_text(
        [(each.layer, each.approximation) for each in configuration.layers if each.parameter_bytes]
    )
    start = (configuration.device, str(result.bounds), layers)
    if certificate is None:
        return (*start, "", "", "", "", "none")
    costs = costs_cells(certificate.costs, certificate.exact, certificate.percentile)
    return (*start, *costs, f"{certificate.verdict} ({certificate.runs} runs, {certificate.samples} samples)")
