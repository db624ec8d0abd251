"""The latency model: how long a kernel takes that was not measured, with a bound that holds 9 times of 10.

A roofline of each device class, from its fingerprint and its measurements, gives the scale; what kernels
take beyond it is learnt from all classes together. The bound is conformal (``cost_model.conformal``), made
of errors on kernels that the model had not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.stats import binom

from cost_model.conformal import COVERAGE, quantiles
from cost_model.errors import CostModelError
from cost_model.features import Sample
from cost_model.fingerprint import Fingerprint
from cost_model.held_out import draw, select_held_out
from cost_model.residual import Residual
from cost_model.roofline import Roofline

__all__ = ["COVERAGE", "HoldoutError", "LatencyModel", "holdout_error", "select_held_out"]

Floats = NDArray[np.float64]
Key = tuple[str, str]
"""Device class and kernel."""
FORMAT = 3
GROWTH = 0.15
"""By this share there are new measurements, and a fit pays."""
FEWEST_TO_JUDGE = 10
SURPRISE = 0.01
"""A model whose bounds hold as promised would be exceeded so often with at most this probability."""
NO_FINGERPRINTS: Mapping[str, Fingerprint] = {}


@dataclass(frozen=True, slots=True, eq=False)
class LatencyModel:
    """Fitted to measured samples; the same samples in the same order give the same model."""

    rooflines: Mapping[str, Roofline]
    residual: Residual
    quantiles: Mapping[str, float]
    """Class to the multiple of its spread by which a prediction becomes a bound."""
    quantiles_below: Mapping[str, float]
    """Likewise for what a kernel takes at best."""
    seen: frozenset[Key]
    """What it was fitted to."""
    version: str
    """The same for the same measurements and the same form of model."""

    @classmethod
    def fit(
        cls, samples: Sequence[Sample], fingerprints: Mapping[str, Fingerprint] = NO_FINGERPRINTS
    ) -> LatencyModel:
        """Learn from measured samples of any number of classes, and from the fingerprints that are known.

        A class with a fingerprint alone can be predicted, too. Raises ``CostModelError`` if there are no
        samples, or one has no positive seconds.
        """
        _check(samples)
        classes = [each.device_class for each in samples]
        rooflines = {
            name: Roofline.fit(
                [each for each in samples if each.device_class == name], fingerprints.get(name)
            )
            for name in sorted({*classes, *fingerprints})
        }
        roofline_s = _roofline_s(rooflines, samples)
        logs = np.log(_seconds(samples) / roofline_s)
        residual, unseen = Residual.fit(samples, roofline_s, logs)
        return cls(
            rooflines,
            residual,
            quantiles(classes, logs - unseen.log, unseen.spread),
            quantiles(classes, unseen.log - logs, unseen.spread),
            frozenset(map(_key, samples)),
            _version(samples, fingerprints),
        )

    def predict_s(self, samples: Sequence[Sample]) -> Floats:
        """Median seconds, ``(samples,)``; raises ``CostModelError`` for a class that nothing is known of."""
        return self.predict_with_bounds_s(samples)[0]

    def bounds_s(self, samples: Sequence[Sample]) -> Floats:
        """Seconds that the measured median does not exceed in 90 % of kernels, ``(samples,)``.

        A class without measurements has the widest bound of the others; it promises nothing there.
        """
        return self.predict_with_bounds_s(samples)[1]

    def predict_with_bounds_s(self, samples: Sequence[Sample]) -> tuple[Floats, Floats]:
        """Median seconds and their bounds, ``(samples,)`` each."""
        predicted_s, spread = self._predict(samples)
        return predicted_s, predicted_s * np.exp(_multiples(self.quantiles, samples) * spread)

    def predict_at_best_s(self, samples: Sequence[Sample]) -> tuple[Floats, Floats]:
        """Median seconds, and those that the measured median does not fall below in 90 % of kernels."""
        predicted_s, spread = self._predict(samples)
        return predicted_s, predicted_s * np.exp(-_multiples(self.quantiles_below, samples) * spread)

    def _predict(self, samples: Sequence[Sample]) -> tuple[Floats, Floats]:
        """Median seconds, and how uncertain their logarithms are."""
        if not samples:
            return np.empty(0), np.empty(0)
        roofline_s = _roofline_s(self.rooflines, samples)
        opinion = self.residual.predict(samples, roofline_s)
        return roofline_s * np.exp(opinion.log), np.asarray(opinion.spread)

    def outdated(self, samples: Sequence[Sample]) -> bool:
        """Whether a fit to these measurements pays.

        They have grown by ``GROWTH``, or have a class that nothing was measured on, or the new ones exceed
        their bounds more often than those of a model that still holds would be.
        """
        fresh = [each for each in samples if _key(each) not in self.seen]
        if any(each.device_class not in self.quantiles for each in fresh):
            return True
        if len(fresh) >= GROWTH * len(self.seen):
            return bool(fresh)
        if len(fresh) < FEWEST_TO_JUDGE:
            return False
        exceeded = int((_seconds(fresh) > self.bounds_s(fresh)).sum())
        return float(binom.sf(exceeded - 1, len(fresh), 1 - COVERAGE)) < SURPRISE

    def save(self, path: str | Path) -> None:
        """Write everything to one JSON file."""
        from cost_model.model_file import to_json

        Path(path).write_text(json.dumps(to_json(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> LatencyModel:
        """What ``save`` wrote; raises ``CostModelError`` for anything else."""
        from cost_model.model_file import from_json

        try:
            return from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, xgboost.core.XGBoostError) as error:
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
    """Share of samples within their bounds; ``COVERAGE`` is promised."""


def holdout_error(samples: Sequence[Sample], share: float, seed: int) -> HoldoutError:
    """Hold out about ``share`` of the kernels, in every class, fit on the rest and predict them.

    Raises ``CostModelError`` if nothing is left on one of the two sides.
    """
    held_out = [each for each in samples if draw(each.kernel, seed, "test") < share]
    _check(held_out)
    model = LatencyModel.fit([each for each in samples if draw(each.kernel, seed, "test") >= share])
    measured = _seconds(held_out)
    predicted, bounds = model.predict_with_bounds_s(held_out)
    errors = np.abs(predicted - measured) / measured
    within = float((measured <= bounds).mean())
    return HoldoutError(len(held_out), float(errors.mean()), float(np.median(errors)), within)


def _roofline_s(rooflines: Mapping[str, Roofline], samples: Sequence[Sample]) -> Floats:
    seconds, classes = np.empty(len(samples)), [each.device_class for each in samples]
    for name in sorted(set(classes)):
        if name not in rooflines:
            raise CostModelError(
                f"nothing was measured on device class {name}, only on {', '.join(rooflines)}; "
                "measure some of its kernels first"
            )
        chosen = np.array([each == name for each in classes])
        seconds[chosen] = rooflines[name].predict_s([each for each in samples if each.device_class == name])
    return seconds


def _multiples(quantiles_of: Mapping[str, float], samples: Sequence[Sample]) -> Floats:
    """Of the spread of each sample; the widest for a class that nothing was measured on."""
    widest = max(quantiles_of.values())
    return np.array([quantiles_of.get(each.device_class, widest) for each in samples])


def _version(samples: Sequence[Sample], fingerprints: Mapping[str, Fingerprint]) -> str:
    """A few hexadecimal digits."""
    known = [[*_key(each), each.seconds, each.weight] for each in samples]
    rates = {name: asdict(each) for name, each in fingerprints.items()}
    content = json.dumps([FORMAT, known, rates], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _key(sample: Sample) -> Key:
    return sample.device_class, sample.kernel


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
