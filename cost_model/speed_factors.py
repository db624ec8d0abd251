"""How much faster or slower one unit of a class is than another, from kernels that several units measured.

Seconds of kernel ``k`` on unit ``u`` are modelled as ``base(k) * factor(u)`` and fitted in logarithms by
median polish (Tukey, Exploratory Data Analysis, 1977): one disturbed measurement moves no factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from statistics import median, median_low
from typing import Final

SWEEPS: Final = 20
"""Median polish comes to rest after two or three where all units measured the same kernels."""

Seconds = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class SpeedFactor:
    """What a unit takes by what the middle unit of its class takes: above 1 it is slower."""

    factor: float = 1.0
    spread: float | None = None
    """Half the distance between the largest and the smallest factor that a single kernel gives, as a share of
    ``factor``; ``None`` where the unit has no kernel in common with another."""
    kernels: int = 0
    """That it stands on."""


def speed_factors(seconds: Seconds) -> dict[str, SpeedFactor]:
    """Unit to its factor, from kernel to unit to seconds; a unit alone in its class has exactly 1."""
    units = sorted({unit for times in seconds.values() for unit in times})
    logs = {
        kernel: {unit: log(each) for unit, each in times.items()}
        for kernel, times in sorted(seconds.items())
        if len(times) > 1
    }
    residuals = _polished(logs)
    if not residuals:
        return dict.fromkeys(units, SpeedFactor())
    middle = median_low([median(each) for each in residuals.values()])
    known = {unit: _factor(each, middle) for unit, each in residuals.items()}
    return {unit: known.get(unit, SpeedFactor()) for unit in units}


def _polished(logs: Mapping[str, Mapping[str, float]]) -> dict[str, list[float]]:
    """Unit to the logarithm of its factor as each kernel has it."""
    factors = dict.fromkeys(sorted({unit for times in logs.values() for unit in times}), 0.0)
    residuals: dict[str, list[float]] = {}
    for _ in range(SWEEPS):
        residuals = {unit: [] for unit in factors}
        for times in logs.values():
            base = median(each - factors[unit] for unit, each in times.items())
            for unit, each in times.items():
                residuals[unit].append(each - base)
        before, factors = factors, {unit: median(each) for unit, each in residuals.items()}
        if factors == before:
            break
    return residuals


def _factor(logs: list[float], middle: float) -> SpeedFactor:
    factor = exp(median(logs) - middle)
    singles = [exp(each - middle) for each in logs]
    return SpeedFactor(factor, (max(singles) - min(singles)) / (2 * factor), len(singles))
