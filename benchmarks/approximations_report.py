"""What the approximations benchmark found: tables for people, an object for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.engine_report import FP32, ORT_FP32, ORT_INT8, geometric_mean
from benchmarks.interleave import Quartiles
from cluster.goal import Objective
from runtime.configuration import Certificate

FASTEST = "BlinkNet fastest"


@dataclass(frozen=True, slots=True)
class Contest:
    """The fastest configuration beside its exact one and ONNX Runtime, on one core."""

    times: Mapping[str, Quartiles]
    """By contender; ONNX Runtime's int8 in every form that answers right."""
    accuracy: Mapping[str, float]
    """By contender: share of samples answered correctly, 0 to 1; of forms that were left out as well."""
    samples: int
    """That accuracies were counted on."""
    changed_per_root_nat: float
    """Share of answers that turned right or wrong, by the root of the divergence from the exact ones."""

    @property
    def ort_int8(self) -> str:
        """The fastest of ONNX Runtime's forms of int8."""
        forms = [name for name in self.times if name.startswith(ORT_INT8)]
        return min(forms, key=lambda name: self.times[name].median_s)

    @property
    def left_out(self) -> dict[str, float]:
        """The accuracy of those forms that answer wrong."""
        return {name: share for name, share in self.accuracy.items() if name not in self.times}

    def speedup_over(self, contender: str) -> float:
        """Its median by that of our fastest configuration: above 1 we are faster."""
        return self.times[contender].median_s / self.times[FASTEST].median_s


@dataclass(frozen=True, slots=True)
class NetworkResult:
    """One network."""

    network: str
    certificates: Mapping[Objective, Certificate]
    """Of the configuration with the least latency, memory and storage."""
    contest: Contest

    @property
    def figures(self) -> dict[str, float | None]:
        """The four that the benchmark is about; ``None`` where no certificate says that the bound holds."""
        contest, latency = self.contest, self._holds("latency")
        memory, storage = (self.certificates[each] for each in ("memory", "storage"))
        return {
            "speedup_at_1pp_vs_ort_fp32": contest.speedup_over(ORT_FP32) if latency else None,
            "speedup_at_1pp_vs_ort_int8": contest.speedup_over(contest.ort_int8) if latency else None,
            "memory_at_1pp": memory.peak_bytes / memory.exact_peak_bytes if self._holds("memory") else None,
            "storage_at_1pp": (
                storage.storage_bytes / storage.exact_storage_bytes if self._holds("storage") else None
            ),
        }

    @property
    def broken(self) -> tuple[Objective, ...]:
        """Objectives whose configuration was not certified to keep the loss bound."""
        return tuple(each for each in self.certificates if not self._holds(each))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; times in milliseconds as lower quartile, median and upper quartile."""
        contest = self.contest
        return self.figures | {
            "speedup_vs_exact": contest.speedup_over(FP32),
            "loss_pp": {name: each.loss_pp for name, each in self.certificates.items()},
            "ms": {name: milliseconds(each) for name, each in contest.times.items()},
            "accuracy": dict(contest.accuracy),
            "samples": contest.samples,
            "ort_int8": contest.ort_int8,
            "changed_per_root_nat": contest.changed_per_root_nat,
        }

    def _holds(self, objective: Objective) -> bool:
        return self.certificates[objective].verdict == "holds"


def to_dict(results: Sequence[NetworkResult], cpu: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """The benchmark's last line; figures are geometric means over the networks."""
    losses = [each.loss_pp for result in results for each in result.certificates.values()]
    return {
        "benchmark": "approximations",
        **{name: _mean([each.figures[name] for each in results]) for name in results[0].figures},
        "max_loss_pp": max(losses),
        "networks": {each.network: each.to_dict() for each in results},
        "cpu": cpu,
        "versions": dict(versions),
    }


def lines(result: NetworkResult) -> list[str]:
    """The table of the contest of one network."""
    contest = result.contest
    width = max(map(len, contest.times))
    header = f"{result.network:<{width}}  {'median':>9}  {'quartiles':>17}  {'accuracy':>8}  speed-up"
    rows = [_row(name, contest, width) for name in contest.times]
    refused = [
        f"{name} answers {share:.2%} right, and is left out" for name, share in contest.left_out.items()
    ]
    return [header, *rows, *refused, f"accuracy was counted on {contest.samples} samples"]


def milliseconds(times: Quartiles) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return [1e3 * each for each in (times.lower_s, times.median_s, times.upper_s)]


def _row(name: str, contest: Contest, width: int) -> str:
    lower, median, upper = milliseconds(contest.times[name])
    return (
        f"{name:<{width}}  {median:6.4f} ms  {lower:6.4f} - {upper:6.4f} ms  "
        f"{contest.accuracy[name]:>8.2%}  {contest.speedup_over(name):7.2f}x"
    )


def _mean(values: Sequence[float | None]) -> float | None:
    there = [each for each in values if each is not None]
    return geometric_mean(there) if len(there) == len(values) else None
