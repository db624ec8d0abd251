"""What is handed over of a device: a configuration with its predictions, and the certificate of its run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median

from cluster.device_result import DeviceResult
from cluster.errors import ClusterError
from cluster.model import Knowledge, placed_in, predict, variant_s
from cluster.selection import Selection, candidates_of
from cluster.table import Table
from cost_model.measurement import Evaluation, NetworkRun
from cost_model.paired import loss_interval_pp
from network.layers import Network, operator_of
from runtime.configuration import Certificate, Configuration, LayerChoice, Verdict, percentile_upper_bound
from tracker.device import DeviceKey
from workers.device import RunResult
from workers.sources import accuracy_versions, fingerprint

VERDICTS: dict[str, Verdict] = {"holds": "holds", "infeasible": "best effort", "unverified": "violated"}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a certificate is issued under."""

    verdict: Verdict
    percentile: float
    confidence: float
    rounds: int
    emulated: bool = False
    looks: int = 1
    """Configurations that evaluation samples could refuse; the interval has to hold for all of them."""


def configuration_of(
    network: Network,
    device: DeviceKey,
    table: Table,
    knowledge: Knowledge,
    selection: Selection,
    *,
    emulated: bool = False,
) -> Configuration:
    """The selection with the numbers that it was chosen by."""
    placed = placed_in(table, knowledge, selection)
    return Configuration(
        network=network.name,
        network_sha256=network.sha256,
        device_class=device.device_class,
        unit=device.unit,
        target=table.target,
        layers=tuple(
            LayerChoice(
                layer=candidate.layer,
                approximation=candidate.approximation,
                reads=str(candidate.reads),
                writes=str(candidate.writes),
                tiles=tiles,
                latency_s=variant_s(table, knowledge, candidate, placed),
                parameter_bytes=candidate.parameter_bytes,
                divergence=knowledge.divergence[candidate.layer, candidate.approximation],
                measured=all(
                    request in knowledge.settled for step in candidate.steps for request in step.requests
                ),
                operator=operator_of(network[candidate.layer]),
            )
            for candidate, tiles in zip(candidates_of(table, selection), selection.tiles, strict=True)
        ),
        predicted=predict(table, knowledge, selection),
        emulated=emulated,
    )


def certificate_of(
    run: NetworkRun, exact: NetworkRun, answers: Evaluation, exact_answers: Evaluation, terms: Terms
) -> Certificate:
    """What a run on the device proves; ``exact`` is the device's run of the exact configuration."""
    return Certificate(
        verdict=terms.verdict,
        device=run.device,
        runs=len(run.seconds),
        percentile=terms.percentile,
        confidence=terms.confidence,
        latency_s=percentile_upper_bound(run.seconds, terms.percentile, terms.confidence),
        median_s=median(run.seconds),
        exact_latency_s=percentile_upper_bound(run.exact_seconds, terms.percentile, terms.confidence),
        exact_median_s=median(run.exact_seconds),
        peak_bytes=run.peak_bytes,
        exact_peak_bytes=exact.peak_bytes,
        storage_bytes=run.storage_bytes,
        exact_storage_bytes=exact.storage_bytes,
        accuracy=answers.accuracy,
        exact_accuracy=exact_answers.accuracy,
        loss_pp=100 * (exact_answers.accuracy - answers.accuracy),
        samples=answers.count,
        rounds=terms.rounds,
        issued=datetime.now(UTC).date().isoformat(),
        versions={"results": accuracy_versions(), "blinknet": fingerprint()},
        emulated=terms.emulated,
        answers_gained=answers.gained,
        answers_lost=answers.lost,
        **_loss_interval(answers, terms),
    )


def _loss_interval(answers: Evaluation, terms: Terms) -> dict[str, float]:
    """Both ends, wide enough for as many looks at the samples as there were (Bonferroni's correction)."""
    if answers.turned is None:
        return {}
    confidence = 1 - (1 - terms.confidence) / terms.looks
    low, high = loss_interval_pp(*answers.turned, answers.count, confidence)
    return {"loss_low_pp": low, "loss_high_pp": high}


def renewed(result: DeviceResult, run: RunResult, accuracy: float, samples: int) -> Certificate:
    """The certificate of a configuration that has run again; what the exact one needs stays as it was."""
    before, bounds = result.certificate, result.bounds
    if before is None:
        raise ClusterError(
            f"{result.configuration.device} has no certificate to renew; run `blinknet run` first"
        )
    latency_s, exact_latency_s = (
        percentile_upper_bound(each, before.percentile, before.confidence)
        for each in (run.seconds, run.exact_seconds)
    )
    after = replace(
        before,
        runs=len(run.seconds),
        latency_s=latency_s,
        median_s=median(run.seconds),
        exact_latency_s=exact_latency_s,
        exact_median_s=median(run.exact_seconds),
        peak_bytes=run.peak_bytes,
        accuracy=accuracy,
        loss_pp=100 * (before.exact_accuracy - accuracy),
        samples=samples,
        issued=datetime.now(UTC).date().isoformat(),
    )
    if (accuracy, samples) != (before.accuracy, before.samples):
        # Which answers have turned is not known any more.
        after = replace(after, answers_gained=None, answers_lost=None, loss_low_pp=None, loss_high_pp=None)
    broken = bounds.resolve(after.exact).violated(after.costs)
    return replace(after, verdict="best effort" if result.nearest else "violated" if broken else "holds")
