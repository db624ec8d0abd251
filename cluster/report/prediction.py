"""Figure: predicted against measured latency of kernels, and the error on those the model never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from cluster.report import formats
from cluster.report.svg import Frame, tag
from cost_model.latency import COVERAGE


@dataclass(frozen=True, slots=True)
class KernelEstimate:
    """A kernel that was both predicted and measured."""

    kernel: str
    predicted_s: float
    measured_s: float
    held_out: bool
    """Whether the prediction came from a model that had not seen this measurement."""
    bound_s: float
    """What the measurement should not exceed, by the same model."""

    @property
    def error(self) -> float:
        """Relative to the measurement, without sign."""
        return abs(self.predicted_s / self.measured_s - 1)


@dataclass(frozen=True, slots=True)
class PredictionInfo:
    """Everything in the figure; errors are ``None`` where nothing was held out."""

    kernels: tuple[KernelEstimate, ...]
    """Those held out last, so that they are drawn on top."""
    held_out: int
    median_error: float | None
    mean_error: float | None
    coverage: float | None
    """Share of those held out that do not exceed their bounds; ``COVERAGE`` is promised."""

    @property
    def span_s(self) -> tuple[float, float]:
        """From the fastest to the slowest, of both axes."""
        every = [value for each in self.kernels for value in (each.predicted_s, each.measured_s)]
        return min(every), max(every)


def prediction_info(kernels: Sequence[KernelEstimate]) -> PredictionInfo | None:
    """The errors and what is drawn; ``None`` without kernels."""
    if not kernels:
        return None
    errors = [each.error for each in kernels if each.held_out]
    return PredictionInfo(
        kernels=tuple(sorted(kernels, key=lambda each: each.held_out)),
        held_out=len(errors),
        median_error=median(errors) if errors else None,
        mean_error=fmean(errors) if errors else None,
        coverage=coverage(kernels),
    )


def coverage(kernels: Sequence[KernelEstimate]) -> float | None:
    """Share of the held-out kernels that do not exceed their bounds; ``None`` without any."""
    within = [each.measured_s <= each.bound_s for each in kernels if each.held_out]
    return fmean(within) if within else None


def summary(info: PredictionInfo) -> str:
    """The errors in a sentence."""
    if info.median_error is None or info.mean_error is None or info.coverage is None:
        return f"{len(info.kernels)} kernels; none was held out, so there is no honest error to tell."
    return (
        f"{len(info.kernels)} kernels. The model had not seen the {info.held_out} coloured ones: there its "
        f"median error is {formats.share(info.median_error)}, the mean {formats.share(info.mean_error)}, "
        f"and {formats.share(info.coverage)} do not exceed their bounds, of which "
        f"{formats.share(COVERAGE)} is promised."
    )


def render(info: PredictionInfo) -> str:
    """The figure as SVG: logarithmic on both axes, in microseconds."""
    fastest, slowest = info.span_s
    span = (fastest * 1e6 / 1.3, slowest * 1e6 * 1.3)
    frame = Frame.of(span, span, logarithmic=True)
    content = (
        _band(frame)
        + frame.axes("measured, µs", "predicted, µs")
        + tag("line", class_="diagonal", x1=frame.x.start, y1=frame.y.start, x2=frame.x.end, y2=frame.y.end)
        + "".join(_mark(each, frame) for each in info.kernels)
    )
    return frame.svg(content, "Predicted against measured latency of kernels")


def _band(frame: Frame) -> str:
    """Within 10 % of the measurement."""
    low, high = frame.x.low, frame.x.high
    corners = (
        (low, low * 1.1),
        (high / 1.1, high),
        (high, high),
        (high, high / 1.1),
        (low * 1.1, low),
        (low, low),
    )
    return tag(
        "polygon", class_="band", points=" ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in corners)
    )


def _mark(kernel: KernelEstimate, frame: Frame) -> str:
    measured, predicted = formats.duration(kernel.measured_s), formats.duration(kernel.predicted_s)
    tip = "\n".join(
        (
            kernel.kernel,
            f"measured {measured}, predicted {predicted}",
            f"off by {formats.share(kernel.error)}{', held out' if kernel.held_out else ''}",
        )
    )
    return tag(
        "circle",
        class_="kernel held-out" if kernel.held_out else "kernel",
        cx=frame.x(kernel.measured_s * 1e6),
        cy=frame.y(kernel.predicted_s * 1e6),
        r=3.5,
        data_tip=tip,
        tabindex=0,
    )
