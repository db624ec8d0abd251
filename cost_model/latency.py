"""The latency model: how long a kernel takes that was not measured, with a bound that holds 9 times of 10.

A roofline fitted for each device class gives the scale, boosted trees over all classes the rest. The bound is
conformal (Vovk; Barber et al., Predictive inference with the jackknife+, 2021): a quantile of the errors on
kernels that the model had not seen, fold by fold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from cost_model.errors import CostModelError
from cost_model.features import Sample
from cost_model.held_out import draw, select_held_out
from cost_model.residual import ENOUGH_FOR_TREES, Medians, Trees
from cost_model.roofline import Roofline

__all__ = ["HoldoutError", "LatencyModel", "holdout_error", "select_held_out"]

Floats = NDArray[np.float64]
COVERAGE = 0.9
FOLDS = 5
ENOUGH_FOR_A_CLASS = 20
"""Below that a class's own quantile is too unsteady: all classes' errors together give its factor."""
FORMAT = 2


@dataclass(frozen=True, slots=True, eq=False)
class LatencyModel:
    """Fitted to measured samples; the same samples in the same order give the same model."""

    rooflines: Mapping[str, Roofline]
    residual: Medians | Trees
    factors: Mapping[str, float]
    floors: Mapping[str, float]

    @classmethod
    def fit(cls, samples: Sequence[Sample]) -> LatencyModel:
        """Learn from measured samples of any number of classes.

        Raises ``CostModelError`` if there are none, or one has no positive seconds.
        """
        _check(samples)
        rooflines, residual = _fit(samples)
        return cls(rooflines, residual, *_factors(samples))

    def predict_s(self, samples: Sequence[Sample]) -> Floats:
        """Median seconds, ``(samples,)``; raises ``CostModelError`` for a class without any measurement."""
        return _predict_s(self.rooflines, self.residual, samples)

    def interval(self, device_class: str) -> float:
        """Factor on a prediction that the measured median does not exceed in 90 % of kernels.

        With fewer than nine errors to go by it is the largest one seen, which promises less.
        """
        if device_class not in self.factors:
            raise _unknown(device_class, self.rooflines)
        return self.factors[device_class]

    def floor(self, device_class: str) -> float:
        """Factor on a prediction that the measured median does not fall below in 90 % of kernels."""
        if device_class not in self.floors:
            raise _unknown(device_class, self.rooflines)
        return self.floors[device_class]

    def save(self, path: str | Path) -> None:
        """Write everything to one JSON file."""
        Path(path).write_text(json.dumps(_to_json(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> LatencyModel:
        """What ``save`` wrote; raises ``CostModelError`` for anything else."""
        try:
            return _from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, xgboost.core.XGBoostError) as error:
            raise CostModelError(
                f"{path} is no latency model ({error}); fit one from the store's measurements"
            ) from error


@dataclass(frozen=True, slots=True)
class HoldoutError:
    """How wrong predictions were on samples that the model never saw."""

    count: int
    mean: float
    """Mean of \\|predicted - measured\\| / measured (MAPE), 1 is 100 %."""
    median: float
    coverage: float
    """Share of samples within ``interval``; it promises 0.9."""


def holdout_error(samples: Sequence[Sample], share: float, seed: int) -> HoldoutError:
    """Hold out about ``share`` of the kernels, in every class, fit on the rest and predict them.

    Raises ``CostModelError`` if nothing is left on one of the two sides.
    """
    held_out = [each for each in samples if draw(each.kernel, seed, "test") < share]
    _check(held_out)
    model = LatencyModel.fit([each for each in samples if draw(each.kernel, seed, "test") >= share])
    measured = _seconds(held_out)
    predicted = model.predict_s(held_out)
    errors = np.abs(predicted - measured) / measured
    within = measured <= predicted * [model.interval(each.device_class) for each in held_out]
    return HoldoutError(len(held_out), float(errors.mean()), float(np.median(errors)), float(within.mean()))


def _fit(samples: Sequence[Sample]) -> tuple[Mapping[str, Roofline], Medians | Trees]:
    rooflines = {
        name: Roofline.fit([each for each in samples if each.device_class == name])
        for name in _classes(samples)
    }
    roofline_s = _roofline_s(rooflines, samples)
    logs = np.log(_seconds(samples) / roofline_s)
    if len(samples) < ENOUGH_FOR_TREES:
        return rooflines, Medians.fit(samples, logs)
    return rooflines, Trees.fit(samples, roofline_s, logs)


def _predict_s(
    rooflines: Mapping[str, Roofline], residual: Medians | Trees, samples: Sequence[Sample]
) -> Floats:
    if not samples:
        return np.empty(0)
    roofline_s = _roofline_s(rooflines, samples)
    return roofline_s * np.exp(residual.predict(samples, roofline_s))


def _roofline_s(rooflines: Mapping[str, Roofline], samples: Sequence[Sample]) -> Floats:
    seconds = np.empty(len(samples))
    for name in _classes(samples):
        if name not in rooflines:
            raise _unknown(name, rooflines)
        chosen = np.array([each.device_class == name for each in samples])
        seconds[chosen] = rooflines[name].predict_s([each for each in samples if each.device_class == name])
    return seconds


def _factors(samples: Sequence[Sample]) -> tuple[dict[str, float], dict[str, float]]:
    """Conformal factors of each class, above and below, from the errors on kernels left out, fold by fold."""
    errors: dict[str, list[float]] = {name: [] for name in _classes(samples)}
    for fold in range(FOLDS):
        unseen = [each for each in samples if _fold(each) == fold]
        seen = [each for each in samples if _fold(each) != fold]
        known = set(_classes(seen))
        unseen = [each for each in unseen if each.device_class in known]
        if unseen:
            ratios = _seconds(unseen) / _predict_s(*_fit(seen), unseen)
            for each, ratio in zip(unseen, ratios.tolist(), strict=True):
                errors[each.device_class].append(ratio)
    pooled = [ratio for ratios in errors.values() for ratio in ratios]
    own = {name: each if len(each) >= ENOUGH_FOR_A_CLASS else pooled for name, each in errors.items()}
    above = {name: _conformal(each) for name, each in own.items()}
    below = {name: 1 / _conformal([1 / ratio for ratio in each]) for name, each in own.items()}
    return above, below


def _fold(sample: Sample) -> int:
    return int(draw(sample.kernel, 0, "fold") * FOLDS)


def _conformal(ratios: Sequence[float]) -> float:
    """The k-th smallest ratio with k = ceil((n + 1) * coverage), the split-conformal quantile."""
    if not ratios:
        return 1.0
    rank = min(ceil((len(ratios) + 1) * COVERAGE), len(ratios))
    return sorted(ratios)[rank - 1]


def _classes(samples: Sequence[Sample]) -> list[str]:
    return sorted({each.device_class for each in samples})


def _seconds(samples: Sequence[Sample]) -> Floats:
    return np.array([each.seconds for each in samples], dtype=np.float64)


def _check(samples: Sequence[Sample]) -> None:
    if not samples:
        raise CostModelError(
            "there are no measured kernels to learn from; measure some of every device class"
        )
    for each in samples:
        if each.seconds is None or not (isfinite(each.seconds) and each.seconds > 0):
            raise CostModelError(
                f"{each.kernel} on {each.device_class} has {each.seconds} seconds; fit measured samples only"
            )


def _unknown(device_class: str, known: Mapping[str, Roofline]) -> CostModelError:
    return CostModelError(
        f"nothing was measured on device class {device_class}, only on {', '.join(known)}; "
        "measure some of its kernels first"
    )


def _to_json(model: LatencyModel) -> dict[str, Any]:
    residual: dict[str, Any]
    if isinstance(model.residual, Trees):
        booster = json.loads(model.residual.booster.save_raw("json"))
        residual = {"booster": booster, "operators": model.residual.operators}
    else:
        residual = {"medians": model.residual.by_class}
    rooflines = {name: asdict(each) for name, each in model.rooflines.items()}
    return {"format": FORMAT, "rooflines": rooflines, "residual": residual} | {
        "factors": model.factors,
        "floors": model.floors,
    }


def _from_json(content: dict[str, Any]) -> LatencyModel:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, expected {FORMAT}")
    residual = content["residual"]
    rooflines = {name: Roofline(**each) for name, each in content["rooflines"].items()}
    if "medians" in residual:
        return LatencyModel(rooflines, Medians(residual["medians"]), content["factors"], content["floors"])
    booster = xgboost.Booster(model_file=bytearray(json.dumps(residual["booster"]).encode()))
    trees = Trees(booster, tuple(residual["operators"]))
    return LatencyModel(rooflines, trees, content["factors"], content["floors"])
