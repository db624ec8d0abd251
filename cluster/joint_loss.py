"""What a configuration loses, as far as a few thousand samples can tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from cost_model.loss_curve import CHANGED_PER_ROOT_NAT
from cost_model.measurement import Evaluation
from cost_model.paired import loss_quantile_pp


@dataclass(frozen=True, slots=True)
class JointLoss:
    """A whole configuration's answers to calibration samples beside the exact network's."""

    loss_pp: float
    divergence: float
    """In nats, of the configuration as a whole."""
    count: int
    turned: tuple[int, int] | None = None
    """Answers that turned right, and that turned wrong; ``None``: an older store did not keep them."""

    @classmethod
    def beside(cls, exact: Evaluation, answers: Evaluation) -> JointLoss:
        """What two evaluations on the same samples show."""
        loss_pp = 100 * (exact.accuracy - answers.accuracy)
        return cls(loss_pp, answers.divergence, answers.count, answers.turned)

    def upper_pp(self, confidence: float) -> float:
        """Upper end of the one-sided confidence interval of the loss."""
        if self.divergence == 0:
            return self.loss_pp  # It is the exact network.
        if self.turned is not None:
            return loss_quantile_pp(*self.turned, self.count, confidence)
        return self.loss_pp + NormalDist().inv_cdf(confidence) * self._deviation_pp

    def lower_pp(self, confidence: float) -> float:
        """The lower end."""
        return self.upper_pp(1 - confidence)

    @property
    def _deviation_pp(self) -> float:
        """By McNemar's variance, where how many answers turned follows from the divergence alone."""
        share = self.loss_pp / 100
        changed = max(abs(share), CHANGED_PER_ROOT_NAT * sqrt(self.divergence))
        return 100 * sqrt((changed - share**2) / self.count)
