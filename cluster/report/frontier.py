"""Figure: what can be had on a device: latency against loss of accuracy, memory as the size of a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from cluster.report import formats
from cluster.report.svg import Frame, label, tag
from runtime.bounds import ResolvedBounds
from runtime.configuration import Costs

LARGEST_RADIUS = 9.0
LOSS_SHOWN = 2.5
"""Losses above so many times what matters (bound, chosen point) would squeeze everything else flat."""


@dataclass(frozen=True, slots=True)
class Point:
    """A configuration in the figure; ``kind`` is frontier, chosen, or the name of a reference."""

    kind: str
    latency_s: float
    loss_pp: float
    peak_bytes: int
    storage_bytes: int


@dataclass(frozen=True, slots=True)
class FrontierInfo:
    """Everything in the figure."""

    points: tuple[Point, ...]
    """Those that are shown, the chosen one last."""
    beyond: int
    """How many lose too much accuracy to be shown."""
    latency_limit_s: float | None
    loss_limit_pp: float | None
    highest_loss_pp: float
    """Where the axis ends."""

    @property
    def envelope(self) -> tuple[Point, ...]:
        """Shown frontier points that no faster one beats in accuracy, by rising latency."""
        kept: list[Point] = []
        for point in sorted(self.points, key=lambda each: (each.latency_s, each.loss_pp)):
            if point.kind == "frontier" and (not kept or point.loss_pp < kept[-1].loss_pp):
                kept.append(point)
        return tuple(kept)


def frontier_info(
    frontier: Sequence[Costs], chosen: Costs, references: Mapping[str, Costs], limits: ResolvedBounds
) -> FrontierInfo:
    """The frontier, the references and the chosen configuration."""
    highest = LOSS_SHOWN * max(0.4, chosen.loss_pp, limits.loss_pp or 0.0)
    every = [
        *(_point("frontier", each) for each in frontier),
        *(_point(name, each) for name, each in references.items()),
        _point("chosen", chosen),
    ]
    shown = tuple(each for each in every if each.loss_pp <= highest)
    return FrontierInfo(shown, len(every) - len(shown), limits.latency_s, limits.loss_pp, highest)


def _point(kind: str, costs: Costs) -> Point:
    return Point(kind, costs.latency_s, costs.loss_pp, costs.peak_bytes, costs.storage_bytes)


def render(info: FrontierInfo) -> str:
    """The figure as SVG."""
    slowest = max(*(each.latency_s for each in info.points), info.latency_limit_s or 0.0)
    unit, scale = formats.duration_unit(slowest)
    lowest = min(0.0, *(each.loss_pp for each in info.points))
    frame = Frame.of(
        (0.0, slowest * scale * 1.06), (lowest - 0.06 * (info.highest_loss_pp - lowest), info.highest_loss_pp)
    )
    content = (
        _feasible(info, frame, scale)
        + frame.axes(f"latency, {unit}", "loss of accuracy, percentage points")
        + _envelope(info, frame, scale)
        + "".join(_mark(each, frame, scale, _largest(info)) for each in info.points)
        + _limits(info, frame, unit, scale)
    )
    return frame.svg(content, "Latency against loss of accuracy of the configurations that can be had")


def _largest(info: FrontierInfo) -> int:
    return max(each.peak_bytes for each in info.points)


def _feasible(info: FrontierInfo, frame: Frame, scale: float) -> str:
    """Where every bound on these two axes holds; nothing where there is neither."""
    if info.latency_limit_s is None and info.loss_limit_pp is None:
        return ""
    right = frame.x.end if info.latency_limit_s is None else frame.x(info.latency_limit_s * scale)
    top = frame.y.end if info.loss_limit_pp is None else min(frame.y(info.loss_limit_pp), frame.y.start)
    return tag(
        "rect",
        class_="feasible",
        x=frame.x.start,
        y=top,
        width=right - frame.x.start,
        height=frame.y.start - top,
    )


def _limits(info: FrontierInfo, frame: Frame, unit: str, scale: float) -> str:
    drawn = ""
    if info.latency_limit_s is not None:
        x = frame.x(info.latency_limit_s * scale)
        near_end = x > frame.x.end - 90
        drawn += tag("line", class_="limit", x1=x, x2=x, y1=frame.y.end, y2=frame.y.start)
        drawn += label(
            x + (-6 if near_end else 6),
            frame.y.end + 10,
            f"≤ {formats.significant(info.latency_limit_s * scale)} {unit}",
            class_="limit",
            text_anchor="end" if near_end else "start",
        )
    if info.loss_limit_pp is not None and frame.y.holds(info.loss_limit_pp):
        y = frame.y(info.loss_limit_pp)
        drawn += tag("line", class_="limit", x1=frame.x.start, x2=frame.x.end, y1=y, y2=y)
        drawn += label(
            frame.x.end, y - 6, f"≤ {formats.points(info.loss_limit_pp)}", class_="limit", text_anchor="end"
        )
    return drawn


def _envelope(info: FrontierInfo, frame: Frame, scale: float) -> str:
    """Steps: between two points the faster one is what can be had."""
    corners: list[str] = []
    before: float | None = None
    for point in info.envelope:
        x, y = frame.x(point.latency_s * scale), frame.y(point.loss_pp)
        corners += [f"{x:.1f},{before:.1f}"] if before is not None else []
        corners.append(f"{x:.1f},{y:.1f}")
        before = y
    return tag("polyline", class_="envelope", points=" ".join(corners)) if corners else ""


def _mark(point: Point, frame: Frame, scale: float, largest: int) -> str:
    x, y = frame.x(point.latency_s * scale), frame.y(point.loss_pp)
    content = tag("circle", cx=x, cy=y, r=max(2.5, LARGEST_RADIUS * sqrt(point.peak_bytes / largest)))
    if point.kind == "chosen":
        content += tag("circle", class_="ring", cx=x, cy=y, r=LARGEST_RADIUS + 4)
    if point.kind != "frontier":
        content += _name(point.kind, x, y, frame)
    return tag("g", content, class_=f"point {point.kind}", data_tip=_tip(point), tabindex=0)


def _name(kind: str, x: float, y: float, frame: Frame) -> str:
    """Left of the chosen point, where no frontier is; above the others."""
    if kind == "chosen" and x > frame.x.start + 80:
        return label(x - 20, y + 4, kind, class_="name", text_anchor="end")
    if x > frame.x.end - 60:
        return label(x + 9, y - 15, kind, class_="name", text_anchor="end")
    return label(x + 16, y - 8, kind, class_="name")


def _tip(point: Point) -> str:
    return "\n".join(
        (
            {"frontier": "On the frontier", "chosen": "Chosen"}.get(point.kind, f"All layers {point.kind}"),
            f"{formats.duration(point.latency_s)}, loses {formats.points(point.loss_pp)}",
            f"{formats.size(point.peak_bytes)} peak memory, {formats.size(point.storage_bytes)} on disk",
        )
    )
