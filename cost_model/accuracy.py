"""The accuracy model: what a joint configuration loses, from what its layers lose alone.

The solver adds up single-layer divergences, and a monotone curve turns the sum into a loss: so a bound on the
loss becomes one on the sum. What a certain configuration loses is predicted more closely, with the effects of
pairs (``cost_model.joint_law``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum

from cost_model.errors import CostModelError
from cost_model.felt import EXACT, NOTHING_FELT, Pair, Trait, predicted
from cost_model.joint_law import JointLaw, Tried
from cost_model.loss_bars import Estimate
from cost_model.loss_curve import LossCurve, Point
from cost_model.measurement import Evaluation, configuration_key, configuration_variants

__all__ = ["EXACT", "AccuracyModel", "approximated", "approximation_of"]

_TYPES = re.compile(r" \S+>\S+$")


@dataclass(frozen=True)
class AccuracyModel:
    """Fitted to the evaluations of one network on one set of samples.

    A configuration is layer name to variant key, or to the approximation alone: a divergence is the
    approximation's, whatever the element types. Layers that are not named are exact.
    """

    divergences: Mapping[tuple[str, str], float]
    """(Layer, approximation) alone, to its divergence."""
    known_loss_pp: Mapping[str, float]
    """Configuration key to the loss that was evaluated, for every one that was."""
    curve: LossCurve
    law: JointLaw
    """From the divergences of all layers alone to the loss of a configuration, with a bar."""

    @classmethod
    def fit(
        cls, evaluations: Iterable[Evaluation], traits: Mapping[Pair, Trait] = NOTHING_FELT
    ) -> AccuracyModel:
        """Learn from the exact configuration's evaluation, single-layer ones and any number of joint ones.

        With ``traits`` the divergences of those that were not evaluated alone are predicted.
        Raises ``CostModelError`` if the exact one is missing.
        """
        each_with_choice = [(each, configuration_variants(each.configuration)) for each in evaluations]
        exact = [each for each, variants in each_with_choice if not approximated(variants)]
        if not exact:
            raise CostModelError(
                "the exact configuration was never evaluated; evaluate it first: every loss is relative to it"
            )
        alone = _single_layers(each_with_choice)
        divergences = {**predicted(traits, alone), **alone}
        model = cls(divergences, {}, LossCurve.fit([]), JointLaw.fit([]))
        losses = [
            (each, variants, 100 * (exact[-1].accuracy - each.accuracy))
            for each, variants in each_with_choice
        ]
        points = [
            Point(model.divergence(variants), loss, each.count, joint=len(approximated(variants)) > 1)
            for each, variants, loss in losses
            if approximated(variants) and model.covers(variants)
        ]
        tried = [
            Tried(model.alone(variants), each.divergence, loss, each.count)
            for each, variants, loss in losses
            if approximated(variants) and model.covers(variants)
        ]
        known = {configuration_key(variants): loss for _, variants, loss in losses}
        return cls(divergences, known, LossCurve.fit(points), JointLaw.fit(tried))

    def divergence(self, variants: Mapping[str, str]) -> float:
        """Summed divergence of a configuration, in nats; 0 for the exact one.

        Raises ``CostModelError`` for an approximation that was not evaluated alone.
        """
        return fsum(self.alone(variants))

    def alone(self, variants: Mapping[str, str]) -> tuple[float, ...]:
        """Divergences of its approximated layers, each alone; raises ``CostModelError`` likewise."""
        return tuple(self._alone(layer, name) for layer, name in approximated(variants).items())

    def covers(self, variants: Mapping[str, str]) -> bool:
        """Whether the divergence of every approximation in it is known, evaluated or predicted."""
        return all(pair in self.divergences for pair in approximated(variants).items())

    def predict_loss_pp(self, variants: Mapping[str, str]) -> float:
        """Loss in percentage points of accuracy: as evaluated where it was, else by the law of pairs.

        Raises ``CostModelError`` for an approximation that was not evaluated alone.
        """
        known = self.known_loss_pp.get(configuration_key(variants))
        return self.law.predict_pp(self.alone(variants)) if known is None else known

    def estimate(self, variants: Mapping[str, str], confidence: float = 0.95) -> Estimate:
        """The same with its bar; one without length where it was evaluated.

        Raises ``CostModelError`` for an approximation that was not evaluated alone.
        """
        known = self.known_loss_pp.get(configuration_key(variants))
        if known is None:
            return self.law.estimate(self.alone(variants), confidence)
        return Estimate(known, known, known)

    def divergence_for(self, loss_pp: float) -> float:
        """The largest summed divergence that is predicted to lose no more than this: the solver's bound."""
        return self.curve.divergence_for(loss_pp)

    def _alone(self, layer: str, approximation: str) -> float:
        try:
            return self.divergences[layer, approximation]
        except KeyError:
            raise CostModelError(
                f"neither {approximation} of layer {layer} nor anything like it was ever evaluated alone; "
                "evaluate it before joint ones"
            ) from None


def approximation_of(variant: str) -> str:
    """A variant key without its element types."""
    return _TYPES.sub("", variant)


def approximated(variants: Mapping[str, str]) -> dict[str, str]:
    """Layer to approximation, for the layers that are not exact."""
    names = {layer: approximation_of(variant) for layer, variant in variants.items()}
    return {layer: name for layer, name in names.items() if name != EXACT}


def _single_layers(evaluations: Iterable[tuple[Evaluation, dict[str, str]]]) -> dict[tuple[str, str], float]:
    """With several element types evaluated, the worst of them counts."""
    found: dict[tuple[str, str], float] = {}
    for each, variants in evaluations:
        if len(pairs := list(approximated(variants).items())) == 1:
            found[pairs[0]] = max(found.get(pairs[0], 0.0), each.divergence)
    return found
