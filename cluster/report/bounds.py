"""Tiles: each quantity as reached, with its bound and its share of the exact configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from cluster.report import formats
from cluster.report.svg import tag
from runtime.bounds import Bounds, ResolvedBounds
from runtime.configuration import Costs

WIDTH, HEIGHT = 200, 12


@dataclass(frozen=True, slots=True)
class BoundInfo:
    """One quantity; latency in seconds, sizes in bytes, loss in percentage points."""

    quantity: str
    stated: str | None
    """As the user wrote it; ``None`` where there is no bound."""
    limit: float | None
    reached: float
    exact: float

    @property
    def kept(self) -> bool:
        """Whether the bound holds; true where there is none."""
        return self.limit is None or self.reached <= self.limit


def bounds_info(
    bounds: Bounds, limits: ResolvedBounds, reached: Costs, exact: Costs
) -> tuple[BoundInfo, ...]:
    """Latency, memory, storage and loss, bounded or not."""
    stated = bounds.to_dict()
    loss = " and ".join(f"{name} {stated[name]}" for name in ("loss", "accuracy") if name in stated) or None
    return (
        BoundInfo("latency", stated.get("latency"), limits.latency_s, reached.latency_s, exact.latency_s),
        BoundInfo("memory", stated.get("memory"), limits.memory_bytes, reached.peak_bytes, exact.peak_bytes),
        BoundInfo(
            "storage", stated.get("storage"), limits.storage_bytes, reached.storage_bytes, exact.storage_bytes
        ),
        BoundInfo("loss", loss, limits.loss_pp, reached.loss_pp, 0.0),
    )


FORMATS: dict[str, Callable[[float], str]] = {
    "latency": formats.duration,
    "memory": formats.size,
    "storage": formats.size,
    "loss": formats.points,
}
TITLES = {"latency": "Latency", "memory": "Peak memory", "storage": "Storage", "loss": "Loss of accuracy"}


def render(infos: tuple[BoundInfo, ...]) -> str:
    """A row of tiles."""
    return tag("div", "".join(_tile(each) for each in infos), class_="tiles")


def _tile(info: BoundInfo) -> str:
    show = FORMATS[info.quantity]
    limit = "no bound" if info.limit is None else f"bound {show(info.limit)}"
    stated = f" <span>{escape(info.stated)}</span>" if info.stated and info.limit is not None else ""
    share = (
        f"{formats.share(info.reached / info.exact)} of exact" if info.exact else "against the exact network"
    )
    return tag(
        "div",
        tag("h4", TITLES[info.quantity])
        + tag("p", escape(show(info.reached)), class_="figure")
        + _bar(info)
        + tag("p", f"{escape(limit)}{stated}", class_="limit")
        + tag("p", escape(share), class_="limit"),
        class_="tile" if info.kept else "tile broken",
    )


def _bar(info: BoundInfo) -> str:
    """Reached against the exact configuration and the bound, all on one scale."""
    end = max(info.reached, info.exact, info.limit or 0.0) or 1.0
    reached = tag("rect", class_="reached", y=3, height=6, width=max(0.0, info.reached / end * WIDTH), rx=3)
    track = tag("rect", class_="track", y=3, height=6, width=WIDTH, rx=3)
    mark = ""
    if info.limit is not None and info.limit > 0:
        at = min(info.limit / end * WIDTH, WIDTH - 1)
        mark = tag("line", class_="mark", x1=at, x2=at, y1=0, y2=HEIGHT)
    return tag(
        "svg",
        track + reached + mark,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
