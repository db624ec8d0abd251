"""What the engine benchmark found: a table for people, an object for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, log
from typing import Any

from benchmarks.interleave import Quartiles

FP32, INT8 = "BlinkNet exact", "BlinkNet int8"
ORT_FP32, ORT_INT8 = "ONNX Runtime float32", "ONNX Runtime int8"


@dataclass(frozen=True, slots=True)
class NetworkResult:
    """One network, by contender."""

    network: str
    times: Mapping[str, Quartiles]
    """Contenders, and the parts of ours."""
    accuracy: Mapping[str, float]
    """Share of samples answered correctly, 0 to 1."""
    ort_int8_form: str
    """Which of ONNX Runtime's quantized forms was the fastest that answers right."""
    ort_int8_refused: Mapping[str, float]
    """The accuracy of those that do not."""
    samples: int
    """That accuracies were counted on."""

    @property
    def fp32_ratio(self) -> float:
        """Our median by ONNX Runtime's, float32: below 1 is faster."""
        return self.times[FP32].median_s / self.times[ORT_FP32].median_s

    @property
    def int8_ratio(self) -> float:
        """The same with int8."""
        return self.times[INT8].median_s / self.times[ORT_INT8].median_s

    def to_dict(self) -> dict[str, Any]:
        """Plain data; times in milliseconds as lower quartile, median and upper quartile."""
        return {
            "ms": {name: _milliseconds(each) for name, each in self.times.items()},
            "accuracy": dict(self.accuracy),
            "samples": self.samples,
            "fp32_vs_ort_fp32": self.fp32_ratio,
            "int8_vs_ort_int8": self.int8_ratio,
            "ort_int8_form": self.ort_int8_form,
            "ort_int8_refused": dict(self.ort_int8_refused),
        }


def geometric_mean(ratios: Iterable[float]) -> float:
    """Of ratios above 0; raises ValueError where there are none."""
    logs = [log(ratio) for ratio in ratios]
    if not logs:
        raise ValueError("no ratios to take the mean of; run at least one network")
    return exp(fsum(logs) / len(logs))


def to_dict(results: Sequence[NetworkResult], cpu: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """The benchmark's last line; ratios are geometric means over the networks, below 1 we are faster."""
    return {
        "benchmark": "engine",
        "fp32_vs_ort_fp32": geometric_mean(each.fp32_ratio for each in results),
        "int8_vs_ort_int8": geometric_mean(each.int8_ratio for each in results),
        "networks": {each.network: each.to_dict() for each in results},
        "cpu": cpu,
        "versions": dict(versions),
    }


def lines(result: NetworkResult) -> list[str]:
    """The table of one network."""
    width = max(map(len, result.times))
    header = f"{result.network:<{width}}  {'median':>9}  {'quartiles':>17}  {'accuracy':>8}"
    rows = [_row(name, each, result.accuracy.get(name), width) for name, each in result.times.items()]
    refused = [
        f"ONNX Runtime's {form} answers {share:.2%} right, and is left out"
        for form, share in result.ort_int8_refused.items()
    ]
    return [
        header,
        *rows,
        f"BlinkNet / ONNX Runtime: float32 {result.fp32_ratio:.2f}, int8 {result.int8_ratio:.2f}; "
        f"ONNX Runtime's int8 is {result.ort_int8_form}; accuracy on {result.samples} samples",
        *refused,
    ]


def _row(name: str, times: Quartiles, accuracy: float | None, width: int) -> str:
    lower, median, upper = _milliseconds(times)
    right = "" if accuracy is None else f"{accuracy:.2%}"
    return f"{name:<{width}}  {median:6.4f} ms  {lower:6.4f} - {upper:6.4f} ms  {right:>8}".rstrip()


def _milliseconds(times: Quartiles) -> list[float]:
    return [1e3 * each for each in (times.lower_s, times.median_s, times.upper_s)]
