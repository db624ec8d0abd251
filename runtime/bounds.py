"""What the user states for a device class: upper bounds on latency, memory and storage, a floor for accuracy.

Latency, memory and storage may be relative: a share of what the exact float32 configuration takes on the same
device. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from math import isfinite
from typing import Literal, get_args

from runtime.configuration import Costs
from runtime.errors import BoundsError

Quantity = Literal["latency", "memory", "storage", "loss", "accuracy"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
DEFAULT_PERCENTILE = 95.0

SHARE = {"%": 0.01}
TIME = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
SIZE = {"B": 1.0, "kB": 1e3, "KiB": 2.0**10, "MB": 1e6, "MiB": 2.0**20, "GB": 1e9, "GiB": 2.0**30}
UNITS: Mapping[Quantity, Mapping[str, float]] = {
    "latency": SHARE | TIME,
    "memory": SHARE | SIZE,
    "storage": SHARE | SIZE,
    "loss": {"pp": 1.0},
    "accuracy": SHARE,
}
ACCEPTED: Mapping[Quantity, str] = {
    "latency": "'20%' of the exact configuration's, '0.08ms' or '120us@p99' (percentile 95 unless stated)",
    "memory": "'60%' of the exact configuration's, '900kB', '1MiB' or a number of bytes",
    "storage": "'60%' of the exact configuration's, '900kB', '1MiB' or a number of bytes",
    "loss": "'1.0pp', percentage points below the exact configuration",
    "accuracy": "'90%', the least share of samples answered correctly",
}
PATTERN = re.compile(r"\s*(\d+\.?\d*(?:e[+-]?\d+)?)\s*([^\s\d@]*)\s*(?:@\s*p(\d+\.?\d*))?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound as stated; ``str`` gives a text that ``Bound.parse`` reads back as an equal bound."""

    quantity: Quantity
    amount: float
    unit: str
    percentile: float | None = None
    """Of the latency; ``None`` for everything else."""

    @classmethod
    def parse(cls, quantity: str, stated: str | float) -> Bound:
        """Read ``stated``; a number without a unit is bytes. Raises ``BoundsError``."""
        name = _quantity(quantity)
        if isinstance(stated, bool) or not isinstance(stated, str | int | float):
            raise _refused(name, stated, "is no text or number")
        match = PATTERN.fullmatch(str(stated))
        if match is None:
            raise _refused(name, stated, "cannot be read")
        amount, unit, percentile = match.groups()
        bound = cls(
            name, float(amount), unit or ("B" if "B" in UNITS[name] else ""), _percentile(name, percentile)
        )
        if reason := bound.flaw():
            raise _refused(name, stated, reason)
        return bound

    def flaw(self) -> str | None:
        """Why this can never be a bound, or ``None``."""
        if self.unit not in UNITS[self.quantity]:
            return f"has the unit {self.unit!r}" if self.unit else "has no unit"
        if self.percentile is not None and (self.quantity != "latency" or not 0 < self.percentile < 100):
            return f"has the percentile {_number(self.percentile)}"
        if not isfinite(self.amount) or (self.amount == 0 and self.quantity != "loss"):
            return "is not above 0"
        if self.quantity == "accuracy" and self.amount > 100:
            return "is above 100%"
        return None

    @property
    def relative(self) -> bool:
        """Whether the bound is a share of the exact configuration's cost."""
        return self.unit == "%" and self.quantity != "accuracy"

    @property
    def value(self) -> float:
        """Seconds, bytes or percentage points; a share (0.2 for 20 %) where relative and for an accuracy."""
        return self.amount / 100 if self.unit == "%" else self.amount * UNITS[self.quantity][self.unit]

    def of(self, reference: float) -> float:
        """The absolute bound, given the exact configuration's cost in the same unit."""
        return self.value * reference if self.relative else self.value

    def __str__(self) -> str:
        percentile = "" if self.percentile is None else f"@p{_number(self.percentile)}"
        return f"{_number(self.amount)}{self.unit}{percentile}"


@dataclass(frozen=True, slots=True)
class ResolvedBounds:
    """Absolute upper bounds; ``None`` is no bound."""

    latency_s: float | None = None
    percentile: float = DEFAULT_PERCENTILE
    memory_bytes: float | None = None
    storage_bytes: float | None = None
    loss_pp: float | None = None
    """Below 0 where even the exact configuration misses the accuracy that is asked for."""

    def beside(self, costs: Costs) -> dict[str, tuple[float, float | None]]:
        """Each cost with its bound, by the name of the bound."""
        return {
            "latency": (costs.latency_s, self.latency_s),
            "memory": (costs.peak_bytes, self.memory_bytes),
            "storage": (costs.storage_bytes, self.storage_bytes),
            "loss": (costs.loss_pp, self.loss_pp),
        }

    def violated(self, costs: Costs) -> tuple[str, ...]:
        """Names of the bounds that ``costs`` exceed."""
        kept = self.beside(costs)
        return tuple(name for name, (cost, bound) in kept.items() if bound is not None and cost > bound)


@dataclass(frozen=True, slots=True)
class Bounds:
    """All bounds of one device class; ``None`` is no bound."""

    latency: Bound | None = None
    memory: Bound | None = None
    storage: Bound | None = None
    loss: Bound | None = None
    accuracy: Bound | None = None

    @classmethod
    def parse(cls, stated: Mapping[str, str | float]) -> Bounds:
        """Read ``{"latency": "20%", ...}``; raises ``BoundsError``."""
        return cls().override(*(Bound.parse(quantity, text) for quantity, text in stated.items()))

    def override(self, *bounds: Bound) -> Bounds:
        """The same with these stated anew."""
        return replace(self, **{each.quantity: each for each in bounds})

    @property
    def given(self) -> tuple[Bound, ...]:
        """The bounds that there are."""
        stated = (getattr(self, each.name) for each in fields(self))
        return tuple(each for each in stated if each is not None)

    @property
    def percentile(self) -> float:
        """The latency percentile that is to be verified."""
        return (self.latency and self.latency.percentile) or DEFAULT_PERCENTILE

    def resolve(self, reference: Costs) -> ResolvedBounds:
        """Absolute bounds; ``reference`` is the exact configuration on the same device.

        Raises ``BoundsError`` for a minimum accuracy where the reference's accuracy is not known.
        """
        return ResolvedBounds(
            latency_s=_absolute(self.latency, reference.latency_s),
            percentile=self.percentile,
            memory_bytes=_absolute(self.memory, reference.peak_bytes),
            storage_bytes=_absolute(self.storage, reference.storage_bytes),
            loss_pp=self._loss_pp(reference.accuracy),
        )

    def to_dict(self) -> dict[str, str]:
        """Quantity to text, what ``parse`` reads."""
        return {each.quantity: str(each) for each in self.given}

    def __str__(self) -> str:
        return ", ".join(f"{each.quantity}={each}" for each in self.given)

    def _loss_pp(self, exact_accuracy: float | None) -> float | None:
        losses = [self.loss.value] if self.loss else []
        if self.accuracy:
            if exact_accuracy is None:
                raise BoundsError(
                    f"accuracy {self.accuracy}: the exact configuration's accuracy is not known; "
                    "evaluate it first, or state a loss such as '1.0pp'"
                )
            losses.append(100 * (exact_accuracy - self.accuracy.value))
        return min(losses, default=None)


def parse_bound(text: str) -> Bound:
    """Read ``latency=20%``, as the command line has it; raises ``BoundsError``."""
    quantity, equals, stated = text.partition("=")
    if not equals:
        raise BoundsError(f"bound {text!r} has no '='; write for example latency=20%")
    return Bound.parse(quantity.strip(), stated)


def _quantity(name: str) -> Quantity:
    if name in QUANTITIES:
        return name
    close = get_close_matches(str(name), QUANTITIES, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise BoundsError(f"no bound is called {name!r}; {hint}there are {', '.join(QUANTITIES)}")


def _absolute(bound: Bound | None, reference: float) -> float | None:
    return None if bound is None else bound.of(reference)


def _percentile(quantity: Quantity, stated: str | None) -> float | None:
    if stated is not None:
        return float(stated)
    return DEFAULT_PERCENTILE if quantity == "latency" else None


def _refused(quantity: Quantity, stated: object, reason: str) -> BoundsError:
    return BoundsError(f"{quantity} {stated!r} {reason}; write {ACCEPTED[quantity]}")


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
