"""What the last line of ``benchmarks.bounds`` says: kept bounds, and what they cost beside other methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from benchmarks.bounds_answers import Answer
from benchmarks.bounds_triples import HALF, Triple

TIE_PP = 0.1
"""Losses that differ by no more count as a tie: the tolerance that economy is judged by. Between two
configurations the noise of 10,000 paired samples alone is about as large."""
Losses = Mapping[Triple, float | None]
"""What a method loses at each triple that it was tried on; ``None``: it kept the bounds nowhere."""


def figures(answers: Sequence[Answer], rivals: Mapping[str, Losses]) -> dict[str, object]:
    """Losses are those of the triples whose bounds are kept, on the evaluation samples."""
    losses = [each.loss_pp for each in answers if each.loss_pp is not None]
    halves = [each.loss_pp for each in answers if each.triple.bounds == HALF and each.loss_pp is not None]
    return {
        "triples": len(answers),
        "solved": sum(each.result is not None for each in answers),
        "feasible": sum(each.feasible for each in answers),
        "run_afresh": sum(each.feasible and each.fresh is not None for each in answers),
        "violations": sum(bool(each.violated) for each in answers),
        "mean_loss_pp": _mean(losses),
        "max_loss_pp": round(max(losses), 3) if losses else None,
        "infeasible_with_nearest": sum(
            each.result is not None and bool(each.result.nearest) for each in answers
        ),
        "not_handed_over": sum(each.result is None for each in answers),
        "blinknet_bounds_loss_pp": _mean(halves),
        "half_worst_loss_pp": round(max(halves), 3) if halves else None,
        "rivals": {name: compared(answers, theirs) for name, theirs in rivals.items() if theirs},
    }


def compared(answers: Sequence[Answer], theirs: Losses) -> dict[str, object]:
    """One rival, on the triples that both were tried on and at least one of them keeps.

    Keeping bounds that the other does not keep is a win, whatever the loss; means are over those that both
    keep.
    """
    tried = [each for each in answers if each.result is not None and each.triple in theirs]
    pairs = [(each.loss_pp, theirs[each.triple]) for each in tried]
    pairs = [pair for pair in pairs if pair != (None, None)]
    both = [(ours, other) for ours, other in pairs if ours is not None and other is not None]
    good = sum(won_or_tied(ours, other) for ours, other in pairs)
    return {
        "triples": len(pairs),
        "kept": sum(other is not None for _, other in pairs),
        "mean_loss_pp": _mean([other for _, other in both]),
        "our_mean_loss_pp": _mean([ours for ours, _ in both]),
        "wins_or_ties": round(good / len(pairs), 4) if pairs else None,
    }


def won_or_tied(ours: float | None, theirs: float | None) -> bool:
    """Whether ours is as good an answer to the same bounds, within the noise."""
    if ours is None or theirs is None:
        return theirs is None
    return ours <= theirs + TIE_PP


def _mean(losses: Sequence[float]) -> float | None:
    return round(fmean(losses), 3) if losses else None
