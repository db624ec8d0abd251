"""How wrong predicted kernels are: left out in turns, and on a class of which ten kernels were measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from cost_model.features import Sample
from cost_model.fingerprint import Fingerprint
from cost_model.held_out import draw
from cost_model.latency import LatencyModel

Floats = NDArray[np.float64]
FOLDS = 10
FEW = 10
"""Measurements of a new class."""
NEW_CLASS_DRAWS = 3
TRUSTED = 0.8
"""Weight of a measurement that a prediction is held against: repeats that do not agree say nothing of it."""
Predict = Callable[[Sequence[Sample], Sequence[Sample]], Floats]
"""Seconds of the second samples, from the measured first ones."""


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """Kernels with what was predicted for them by models that had not seen them."""

    samples: tuple[Sample, ...]
    predicted_s: Floats
    bounds_s: Floats

    @property
    def measured_s(self) -> Floats:
        """What they take."""
        return np.array([each.seconds for each in self.samples])

    @property
    def errors(self) -> Floats:
        """Relative to the measurements, without sign."""
        return np.abs(self.predicted_s / self.measured_s - 1)

    @property
    def coverage(self) -> float:
        """Share that does not exceed its bound."""
        return float((self.measured_s <= self.bounds_s).mean())

    def of(self, device_class: str) -> LeftOut:
        """Those of one class."""
        chosen = np.array([each.device_class == device_class for each in self.samples])
        samples = tuple(each for each, wanted in zip(self.samples, chosen, strict=True) if wanted)
        return LeftOut(samples, self.predicted_s[chosen], self.bounds_s[chosen])


def fold_of(sample: Sample) -> int:
    """All tiles of a kernel are left out together, on one class at a time."""
    kernel = sample.kernel.rpartition(" tile")[0] or sample.kernel
    return int(draw(f"{sample.device_class} {kernel}", 0, "left out") * FOLDS)


def left_out(samples: Sequence[Sample], fold: int) -> list[Sample]:
    """Those of the fold whose measurements are worth a comparison."""
    return [each for each in samples if fold_of(each) == fold and each.weight >= TRUSTED]


def leave_out(
    samples: Sequence[Sample], fingerprints: Mapping[str, Fingerprint], folds: Sequence[int]
) -> LeftOut:
    """Of each of these folds, what a model of all other kernels says."""
    held: list[Sample] = []
    predicted, bounds = [np.empty(0)], [np.empty(0)]
    for fold in folds:
        unseen = left_out(samples, fold)
        model = LatencyModel.fit([each for each in samples if fold_of(each) != fold], fingerprints)
        seconds, bounds_s = model.predict_with_bounds_s(unseen)
        held += unseen
        predicted.append(seconds)
        bounds.append(bounds_s)
    return LeftOut(tuple(held), np.concatenate(predicted), np.concatenate(bounds))


def rival_errors(samples: Sequence[Sample], folds: Sequence[int], predict: Predict) -> Floats:
    """Relative errors of another predictor on the same folds."""
    errors = [np.empty(0)]
    for fold in folds:
        unseen = left_out(samples, fold)
        predicted = predict([each for each in samples if fold_of(each) != fold], unseen)
        errors.append(np.abs(predicted / np.array([each.seconds for each in unseen]) - 1))
    return np.concatenate(errors)


def new_class_correlation(
    samples: Sequence[Sample], fingerprints: Mapping[str, Fingerprint], device_class: str, seed: int
) -> float:
    """Spearman's, of a class's kernels but ten, drawn at random, from these ten and all other classes."""
    own = sorted(
        (each for each in samples if each.device_class == device_class),
        key=lambda each: draw(each.kernel, seed, "new class"),
    )
    few, rest = own[:FEW], [each for each in own[FEW:] if each.weight >= TRUSTED]
    others = [each for each in samples if each.device_class != device_class]
    model = LatencyModel.fit([*others, *few], fingerprints)
    return float(spearmanr(model.predict_s(rest), [each.seconds for each in rest]).statistic)
