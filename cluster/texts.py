"""Figures and choices as short texts for tables and messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from runtime.configuration import Certificate, Costs

UNITS: Mapping[str, tuple[float, str]] = {
    "latency": (1e3, "ms"),
    "memory": (1 / 1024, "KiB"),
    "storage": (1 / 1024, "KiB"),
    "loss": (1.0, "pp"),
}


def device_text(device: str, *, emulated: bool) -> str:
    """The device's name; no figure of an emulated one is shown without saying so."""
    return f"{device} (emulated)" if emulated else device


def layers_text(choices: Sequence[tuple[str, str]]) -> str:
    """``conv1,conv2 int8 · conv3 exact`` from (layer, approximation); neighbours that are equal together."""
    groups = groupby(choices, key=lambda each: each[1])
    return " · ".join(f"{','.join(layer for layer, _ in group)} {name}" for name, group in groups)


def bounds_text(bounds: Mapping[str, float | None]) -> str:
    """``latency 1.5 ms, no memory helps``."""
    return ", ".join(
        f"{name} {value * UNITS[name][0]:.4g} {UNITS[name][1]}" if value is not None else f"no {name} helps"
        for name, value in bounds.items()
    )


def nearest_text(nearest: Mapping[str, float | None]) -> str:
    """Which bounds would be feasible."""
    return f"INFEASIBLE; with the other bounds kept, the nearest feasible: {bounds_text(nearest)}"


def costs_cells(costs: Costs, exact: Costs, percentile: float) -> tuple[str, str, str, str]:
    """Latency, memory, storage and loss, with their shares of the exact configuration's."""
    return (
        f"{costs.latency_s * 1e3:.3f} ms p{percentile:g} ({costs.latency_s / exact.latency_s:.0%})",
        f"{costs.peak_bytes / 1024:.0f} KiB ({costs.peak_bytes / exact.peak_bytes:.0%})",
        f"{costs.storage_bytes / 1024:.0f} KiB ({costs.storage_bytes / exact.storage_bytes:.0%})",
        f"{costs.loss_pp:+.2f} pp",
    )


def loss_text(certificate: Certificate) -> str:
    """The interval of the loss, behind something else; nothing where it is not known."""
    if certificate.loss_low_pp is None or certificate.loss_high_pp is None:
        return ""
    return f", loss {certificate.loss_low_pp:+.2f} to {certificate.loss_high_pp:+.2f} pp"
