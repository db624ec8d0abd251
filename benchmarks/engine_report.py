"""What the engine benchmark found: a table for people, an object for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, log
from typing import Any

from benchmarks.interleave import Quartiles

FP32, INT8 = "BlinkNet exact", "BlinkNet int8"
ORT_FP32, ORT_INT8 = "ONNX Runtime float32", "ONNX Runtime int8"
CONVOLUTIONAL = ("vgg16", "resnet18", "squeezenet")
"""Networks whose convolutions are held against the processor's peak."""
Refused = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NetworkResult:
    """One network on some number of threads, by contender."""

    network: str
    threads: int
    times: Mapping[str, Quartiles]
    kernels_s: Mapping[str, float]
    """The sum of our kernels, each on its own; only with one thread."""
    accuracy: Mapping[str, float]
    """Share of samples answered correctly, 0 to 1."""
    difference: float
    """Largest between our exact outputs and ONNX Runtime's float32, as a share of the largest output."""
    samples: int
    """That accuracies were counted on."""
    ort_int8_form: str
    """Which of ONNX Runtime's quantized forms was the fastest that answers right."""
    ort_int8_refused: Refused
    """The accuracy of those that do not."""
    share_of_peak: float | None
    """Of the multiply-adds that the processor can do, those that our convolutions do; with one thread."""

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
            "threads": self.threads,
            "ms": {name: _milliseconds(each) for name, each in self.times.items()},
            "kernels_ms": {name: 1e3 * each for name, each in self.kernels_s.items()},
            "accuracy": dict(self.accuracy),
            "difference": self.difference,
            "samples": self.samples,
            "fp32_vs_ort_fp32": self.fp32_ratio,
            "int8_vs_ort_int8": self.int8_ratio,
            "share_of_peak": self.share_of_peak,
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
    shares = {
        each.network: each.share_of_peak
        for each in results
        if each.share_of_peak is not None and each.network in CONVOLUTIONAL
    }
    return {
        "benchmark": "engine",
        **_ratios(results),
        "conv_share_of_peak": geometric_mean(shares.values()) if shares else None,
        "worst": {
            name: _worst(results, f"{kind}_ratio")
            for name, kind in (("fp32_vs_ort_fp32", "fp32"), ("int8_vs_ort_int8", "int8"))
        },
        "by_threads": {
            threads: _ratios([each for each in results if each.threads == threads])
            for threads in sorted({each.threads for each in results})
        },
        "networks": [{"network": each.network} | each.to_dict() for each in results],
        "cpu": cpu,
        "versions": dict(versions),
    }


def _ratios(results: Sequence[NetworkResult]) -> dict[str, float]:
    return {
        "fp32_vs_ort_fp32": geometric_mean(each.fp32_ratio for each in results),
        "int8_vs_ort_int8": geometric_mean(each.int8_ratio for each in results),
    }


def _worst(results: Sequence[NetworkResult], ratio: str) -> dict[str, Any]:
    slowest = max(results, key=lambda each: float(getattr(each, ratio)))
    return {"network": slowest.network, "threads": slowest.threads, "ratio": getattr(slowest, ratio)}


def lines(result: NetworkResult) -> list[str]:
    """The table of one network."""
    threads = f"{result.threads} thread" + ("s" if result.threads > 1 else "")
    title = f"{result.network}, {threads}"
    width = max(len(title), *map(len, result.times))
    header = f"{title:<{width}}  {'median':>10}  {'quartiles':>18}  {'accuracy':>8}"
    rows = [_row(name, each, result.accuracy[name], width) for name, each in result.times.items()]
    refused = [
        f"ONNX Runtime's {form} answers {share:.2%} right, and is left out"
        for form, share in result.ort_int8_refused.items()
    ]
    return [
        header,
        *rows,
        f"BlinkNet / ONNX Runtime: float32 {result.fp32_ratio:.2f}, int8 {result.int8_ratio:.2f}; "
        f"ONNX Runtime's int8 is {result.ort_int8_form}; accuracy on {result.samples} samples; "
        f"exact differs by {result.difference:.1e}",
        *_kernels(result),
        *refused,
    ]


def _kernels(result: NetworkResult) -> list[str]:
    if not result.kernels_s:
        return []
    sums = ", ".join(f"{1e3 * seconds:.4f} ms ({name})" for name, seconds in result.kernels_s.items())
    share = "" if result.share_of_peak is None else f"; convolutions at {result.share_of_peak:.0%} of peak"
    return [f"kernels alone add up to {sums}{share}"]


def _row(name: str, times: Quartiles, accuracy: float, width: int) -> str:
    lower, median, upper = _milliseconds(times)
    return f"{name:<{width}}  {median:7.4f} ms  {lower:7.4f} - {upper:7.4f} ms  {accuracy:>8.2%}"


def _milliseconds(times: Quartiles) -> list[float]:
    return [1e3 * each for each in (times.lower_s, times.median_s, times.upper_s)]
