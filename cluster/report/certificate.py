"""The certificate: what the device itself showed, in a sentence and a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from cluster.report import formats
from cluster.report.svg import tag
from cluster.texts import loss_text
from runtime.configuration import Certificate, Costs


def render(certificate: Certificate, predicted: Costs) -> str:
    """Predicted, verified and exact side by side."""
    words = tag("p", escape(_sentence(certificate))) + _versions(certificate)
    return tag("div", tag("div", words) + _table(certificate, predicted), class_="beside")


def _sentence(certificate: Certificate) -> str:
    runs = "emulated runs" if certificate.emulated else "runs"
    return (
        f"{certificate.runs} {runs} on {certificate.device}, in turn with the exact configuration. "
        f"With {certificate.confidence:.0%} confidence, {certificate.percentile:g}% of runs take at most "
        f"{formats.duration(certificate.latency_s)}. "
        f"Accuracy was counted on {certificate.samples:,} samples that chose nothing. "
        f"Issued {certificate.issued}, after {certificate.rounds} "
        f"{'round' if certificate.rounds == 1 else 'rounds'} on the device."
    )


def _table(certificate: Certificate, predicted: Costs) -> str:
    head = "".join(
        tag("th", title, class_="number") for title in ("", "predicted", "verified", "exact", "of exact")
    )
    body = "".join(_cells(*each) for each in _rows(certificate, predicted))
    return tag("table", tag("thead", tag("tr", head)) + tag("tbody", body), class_="certificate")


def _rows(certificate: Certificate, predicted: Costs) -> Iterator[tuple[str, ...]]:
    """Title, predicted, verified, exact, and how the last two compare."""
    verified, exact = certificate.costs, certificate.exact
    latency = f"Latency, percentile {certificate.percentile:g}"
    yield _compared(latency, formats.duration, predicted.latency_s, verified.latency_s, exact.latency_s)
    yield _compared(
        "Latency, median", formats.duration, None, certificate.median_s, certificate.exact_median_s
    )
    yield _compared("Peak memory", formats.size, predicted.peak_bytes, verified.peak_bytes, exact.peak_bytes)
    yield _compared(
        "Storage", formats.size, predicted.storage_bytes, verified.storage_bytes, exact.storage_bytes
    )
    foreseen = "" if predicted.accuracy is None else f"{predicted.accuracy:.2%}"
    loss = f"{-certificate.loss_pp:+.2f} pp{loss_text(certificate)}"
    yield "Accuracy", foreseen, f"{certificate.accuracy:.2%}", f"{certificate.exact_accuracy:.2%}", loss


def _compared(
    title: str, show: Callable[[float], str], predicted: float | None, verified: float, exact: float
) -> tuple[str, ...]:
    foreseen = "" if predicted is None else show(predicted)
    return title, foreseen, show(verified), show(exact), formats.share(verified / exact)


def _cells(title: str, *cells: str) -> str:
    return tag(
        "tr", tag("th", escape(title)) + "".join(tag("td", escape(each), class_="number") for each in cells)
    )


def _versions(certificate: Certificate) -> str:
    listed = " · ".join(f"{name} {version}" for name, version in certificate.versions.items())
    return tag("p", escape(listed), class_="versions") if listed else ""
