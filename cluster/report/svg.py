"""Just enough SVG: tags, scales with round ticks, and a frame with axes. Pure text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

STEPS = (1, 2, 2.5, 5, 10)


def tag(name: str, content: str = "", **attributes: str | float) -> str:
    """An element around ``content``, which is markup already; ``stroke_width`` becomes ``stroke-width``."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>"


def label(x: float, y: float, text: str, **attributes: str | float) -> str:
    """Text at a point; ``text`` is escaped."""
    return tag("text", escape(text), x=x, y=y, **attributes)


@dataclass(frozen=True, slots=True)
class Scale:
    """From a value to a coordinate, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        low, high, value = (self._position(each) for each in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether the value lies within the scale."""
        return self.low <= value <= self.high

    def ticks(self) -> tuple[float, ...]:
        """Round values within the scale: about five, or 1, 2 and 5 of every decade."""
        every = self._decades() if self.logarithmic else self._multiples()
        return tuple(each for each in every if self.low * (1 - 1e-9) <= each <= self.high * (1 + 1e-9))

    def _position(self, value: float) -> float:
        return log10(value) if self.logarithmic else value

    def _decades(self) -> Sequence[float]:
        decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        digits = (1, 2, 5) if self.high / self.low < 100 else (1,)
        return [digit * 10.0**decade for decade in decades for digit in digits]

    def _multiples(self) -> Sequence[float]:
        rough = (self.high - self.low) / 6
        decade = 10.0 ** floor(log10(rough))
        step = next(each for each in STEPS if each * decade >= rough * 0.999) * decade
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        # Rounded to what the step can show, so that three tenths are not 0.30000000000000004.
        return [round(index * step, 12 - floor(log10(step))) for index in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Frame:
    """A plot area with its two scales; y grows upwards."""

    width: float
    height: float
    x: Scale
    y: Scale

    @classmethod
    def of(
        cls,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        logarithmic: bool = False,
        width: float = 560,
        height: float = 380,
    ) -> Frame:
        """A frame that shows these ranges of values."""
        return cls(
            width,
            height,
            Scale(*x, start=52, end=width - 18, logarithmic=logarithmic),
            Scale(*y, start=height - 46, end=34, logarithmic=logarithmic),
        )

    def axes(self, x_title: str, y_title: str) -> str:
        """Grid, tick labels and titles."""
        lines = [
            tag("line", class_="grid", x1=self.x.start, x2=self.x.end, y1=self.y(each), y2=self.y(each))
            + label(self.x.start - 8, self.y(each) + 4, f"{each:g}", class_="tick", text_anchor="end")
            for each in self.y.ticks()
        ]
        marks = [
            tag("line", class_="axis", x1=self.x(each), x2=self.x(each), y1=self.y.start, y2=self.y.start + 4)
            + label(self.x(each), self.y.start + 18, f"{each:g}", class_="tick", text_anchor="middle")
            for each in self.x.ticks()
        ]
        base = tag("line", class_="axis", x1=self.x.start, x2=self.x.end, y1=self.y.start, y2=self.y.start)
        titles = label(self.x.end, self.height - 8, x_title, class_="title", text_anchor="end")
        titles += label(0, 14, y_title, class_="title")
        return "".join((*lines, *marks, base, titles))

    def svg(self, content: str, description: str) -> str:
        """The picture; ``description`` is what a screen reader says."""
        return tag(
            "svg", content, viewBox=f"0 0 {self.width:g} {self.height:g}", role="img", aria_label=description
        )


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
