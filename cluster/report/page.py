"""The page around the figures: one file, nothing loaded from anywhere."""

from __future__ import annotations

from html import escape
from pathlib import Path

from cluster.report import bounds, certificate, formats, frontier, layers, prediction
from cluster.report.info import DeviceInfo, ReportInfo
from cluster.report.svg import tag

FOLDER = Path(__file__).parent
VERDICTS = {
    "holds": ("good", "✓ bounds hold"),
    "violated": ("bad", "✗ bounds violated"),
    "best effort": ("bad", "✗ infeasible, best effort"),
    "unverified": ("open", "○ not verified"),
}


def render(info: ReportInfo) -> str:
    """The whole page; equal information gives equal bytes."""
    title = f"{info.record.name} · BlinkNet"
    head = (
        '<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'
        + tag("title", escape(title))
        + tag("style", (FOLDER / "style.css").read_text(encoding="utf-8"))
    )
    script = tag("script", (FOLDER / "script.js").read_text(encoding="utf-8"))
    sections = "".join(_section(each) for each in info.devices)
    body = tag("body", _header(info) + tag("main", sections) + _footer(info) + script)
    return f'<!DOCTYPE html>\n<html lang="en">{tag("head", head)}{body}</html>\n'


def _header(info: ReportInfo) -> str:
    record = info.record
    facts = [
        f"network {record.network}",
        f"SHA-256 {record.network_sha256[:12]}",
        f"started {formats.moment(record.started)}",
        f"finished {formats.moment(record.finished)}" if record.finished else "not finished",
    ]
    chips = "".join(
        tag("a", f"{escape(each.device)} {_badges(each)}", href=f"#{escape(each.device)}")
        for each in info.devices
    )
    return tag(
        "header",
        tag("p", "BlinkNet", class_="brand")
        + tag("h1", escape(record.name))
        + tag("p", escape(" · ".join(facts)), class_="facts")
        + tag("nav", chips),
    )


def _footer(info: ReportInfo) -> str:
    record = info.record
    versions = " · ".join(f"{name} {version}" for name, version in record.versions.items())
    lines = (
        f"Run file {record.run_file}, tracker {record.tracker}, measurements in {record.store}",
        versions,
    )
    return tag("footer", "".join(tag("p", escape(each)) for each in lines if each))


def _section(device: DeviceInfo) -> str:
    heading = tag("h2", f"{escape(device.device)} {_badges(device)}")
    facts = (device.cpu, device.target, f"least {device.objective} inside the bounds")
    subtitle = tag("p", escape(" · ".join(each for each in facts if each)), class_="facts")
    return tag(
        "section",
        heading
        + subtitle
        + _emulated(device)
        + _nearest(device)
        + bounds.render(device.bounds)
        + _pictures(device)
        + _tables(device),
        id=device.device,
    )


def _pictures(device: DeviceInfo) -> str:
    title = _title(device, "What this device can do")
    pictures = _figure(title, _frontier_words(device), frontier.render(device.frontier))
    if device.prediction is not None:
        words = prediction.summary(device.prediction) + " The band is ±10%."
        pictures += _figure(
            _title(device, "How well latency was predicted"), words, prediction.render(device.prediction)
        )
    return tag("div", pictures, class_="pictures")


def _tables(device: DeviceInfo) -> str:
    words = "Each kernel timed alone on this device; the whole network is timed for the certificate."
    words += f" {device.marks[0].upper()}{device.marks[1:]}." if device.marks else ""
    tables = _figure(_title(device, "What each layer got"), words, layers.render(device.layers))
    if device.certificate is not None:
        tables += _figure(
            _title(device, "Certificate"), "", certificate.render(device.certificate, device.predicted)
        )
    return tables


def _title(device: DeviceInfo, words: str) -> str:
    return f"{words} (emulated)" if device.emulated else words


def _figure(title: str, words: str, content: str) -> str:
    caption = tag("h3", escape(title)) + (tag("p", escape(words)) if words else "")
    return tag("figure", tag("figcaption", caption) + content)


def _frontier_words(device: DeviceInfo) -> str:
    words = "Every point is a configuration, larger with more memory. Shaded: inside the bounds on both axes."
    count = device.frontier.beyond
    return words + (
        f" Not shown: {count} that {'loses' if count == 1 else 'lose'} far more accuracy." if count else ""
    )


def _emulated(device: DeviceInfo) -> str:
    """What no figure of the section may be read without."""
    if not device.emulated:
        return ""
    words = "Emulated: every latency here is an emulator's and says nothing about a real board."
    return tag("p", words, class_="notice")


def _nearest(device: DeviceInfo) -> str:
    """What could be promised instead."""
    if not device.nearest:
        return ""
    feasible = [
        f"{name} {_shown(name, value)}" for name, value in device.nearest.items() if value is not None
    ]
    hopeless = [name for name, value in device.nearest.items() if value is None]
    words = "No configuration keeps all bounds together."
    if feasible:
        words += f" With the others kept, the nearest feasible would be: {', or '.join(feasible)}."
    if hopeless:
        words += f" Giving way on {' or '.join(hopeless)} alone does not help."
    return tag("p", escape(words), class_="notice")


def _shown(quantity: str, value: float) -> str:
    return bounds.FORMATS[quantity](value) if quantity in bounds.FORMATS else formats.significant(value)


def _badges(device: DeviceInfo) -> str:
    kind, words = VERDICTS[device.verdict]
    emulated = tag("span", "emulated", class_="badge open") if device.emulated else ""
    return emulated + tag("span", words, class_=f"badge {kind}")
