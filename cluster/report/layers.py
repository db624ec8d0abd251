"""Figure: the layers with what each got, and its latency beside that of the exact layer."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from cluster.report import formats
from cluster.report.svg import tag
from runtime.configuration import Configuration

WIDTH, HEIGHT = 240, 18


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer in both configurations."""

    layer: str
    approximation: str
    forms: str
    latency_s: float
    exact_latency_s: float
    parameter_bytes: int
    exact_parameter_bytes: int
    measured: bool
    exact: bool


@dataclass(frozen=True, slots=True)
class LayersInfo:
    """All layers in the network's order."""

    rows: tuple[LayerRow, ...]

    @property
    def slowest_s(self) -> float:
        """Where the bars end."""
        return max(max(each.latency_s, each.exact_latency_s) for each in self.rows)


def layers_info(configuration: Configuration, exact: Configuration) -> LayersInfo:
    """Both configurations layer by layer; they are of the same network."""
    return LayersInfo(
        tuple(
            LayerRow(
                layer=chosen.layer,
                approximation=chosen.label,
                forms=f"{chosen.reads} → {chosen.writes}",
                latency_s=chosen.latency_s,
                exact_latency_s=before.latency_s,
                parameter_bytes=chosen.parameter_bytes,
                exact_parameter_bytes=before.parameter_bytes,
                measured=chosen.measured,
                exact=chosen.approximation == "exact",
            )
            for chosen, before in zip(configuration.layers, exact.layers, strict=True)
        )
    )


def render(info: LayersInfo) -> str:
    """A table with a pair of bars in every row."""
    head = "".join(
        tag("th", title, class_=kind)
        for title, kind in (
            ("Layer", ""),
            ("Approximation", ""),
            ("Types", ""),
            ("Latency: exact above, chosen below", "bars"),
            ("exact", "number"),
            ("chosen", "number"),
            ("Parameters", "number"),
        )
    )
    body = "".join(_row(each, info.slowest_s) for each in info.rows)
    total = _total(info)
    return tag(
        "table", tag("thead", tag("tr", head)) + tag("tbody", body) + tag("tfoot", total), class_="layers"
    )


def _row(row: LayerRow, slowest_s: float) -> str:
    exact = row.exact
    return tag(
        "tr",
        tag("td", escape(row.layer), class_="layer")
        + tag("td", tag("span", escape(row.approximation), class_="method plain" if exact else "method"))
        + tag("td", escape(row.forms), class_="types")
        + tag("td", _bars(row, slowest_s), class_="bars")
        + tag("td", escape(_time(row.exact_latency_s)), class_="number faint")
        + tag("td", escape(_time(row.latency_s) + ("" if row.measured else " *")), class_="number")
        + tag(
            "td", escape(formats.size(row.parameter_bytes)) if row.parameter_bytes else "—", class_="number"
        ),
    )


def _bars(row: LayerRow, slowest_s: float) -> str:
    tip = f"{row.layer}\nexact {_time(row.exact_latency_s)}, {row.approximation} {_time(row.latency_s)}"
    pair = (
        tag("rect", class_=kind, y=y, height=6, width=seconds / slowest_s * WIDTH if slowest_s else 0, rx=1.5)
        for kind, y, seconds in (("exact", 2, row.exact_latency_s), ("chosen", 10, row.latency_s))
    )
    return tag(
        "svg",
        "".join(pair),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        data_tip=tip,
        role="img",
        aria_label=tip,
    )


def _total(info: LayersInfo) -> str:
    exact, chosen = sum(each.exact_latency_s for each in info.rows), sum(each.latency_s for each in info.rows)
    parameters = sum(each.parameter_bytes for each in info.rows)
    note = "" if all(each.measured for each in info.rows) else "* predicted, not measured"
    return tag(
        "tr",
        tag("td", "Sum")
        + tag("td", note, colspan=3, class_="note")
        + tag("td", escape(_time(exact)), class_="number faint")
        + tag("td", escape(_time(chosen)), class_="number")
        + tag("td", escape(formats.size(parameters)), class_="number"),
    )


def _time(seconds: float) -> str:
    return formats.duration(seconds) if seconds else "—"
