"""What the passes of all contenders say: figures and a table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from rich.table import Table

from benchmarks.throughput_ours import Medians, Pass
from cluster.tables import plain_table
from tracker.device import DeviceKey


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to time the same kernels on the same devices."""

    name: str
    effort: str
    """On a kernel."""
    seconds: tuple[float, ...]
    """For all kernels, one entry a round; a rival may leave out the last ones."""
    medians: Medians


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the rounds gave."""

    kernels: int
    ours: Contender
    equal: tuple[Contender, ...]
    """RPCRunner with our effort, in several ways; the fastest counts."""
    default: tuple[Contender, ...]
    """RPCRunner with its own effort."""
    our_building_s: tuple[float, ...]
    """From source to the last result."""
    their_building_s: float
    """Building alone: MetaSchedule builds first and times then."""
    busy_shares: tuple[float, ...]
    """Of the timing cores, one entry a round, see ``core_share``."""
    executing_shares: tuple[float, ...]
    """The same with calls that do not count."""
    alone: Medians
    """Of devices of ours while all others rest."""
    together: Medians
    """While all others have work, and the host compiles in every other pass."""


def figures(evidence: Evidence) -> dict[str, Any]:
    """What the last line says."""
    ours, equal, default = evidence.ours, fastest(evidence.equal), fastest(evidence.default)
    building_s = median(evidence.our_building_s)
    return {
        "benchmark": "throughput",
        "kernels": evidence.kernels,
        "variants_per_s": evidence.kernels / median(ours.seconds),
        "variants_per_s_with_building": evidence.kernels / building_s,
        "speedup_vs_rpcrunner": speedup(ours, equal),
        "speedup_vs_rpcrunner_defaults": speedup(ours, default),
        "speedup_with_building": (evidence.their_building_s + median(equal.seconds)) / building_s,
        "device_busy_share": median(evidence.busy_shares),
        "device_executing_share": median(evidence.executing_shares),
        "inflation": inflation(evidence.together, evidence.alone),
        "rpcrunner_inflation": inflation(equal.medians, evidence.alone),
        "rpcrunner": {"equal effort": equal.name, "own effort": default.name},
        "effort": {each.name: each.effort for each in _all(evidence)},
        "seconds": {each.name: each.seconds for each in _all(evidence)},
    }


def table(evidence: Evidence) -> Table:
    """A row for each contender."""
    right = ("kernels/s", "ours is faster by", "times inflated by")
    shown = plain_table("contender", "spent on a kernel", right=right)
    for each in _all(evidence):
        shown.add_row(
            each.name,
            each.effort,
            f"{evidence.kernels / median(each.seconds):.1f}",
            f"{speedup(evidence.ours, each):.1f} x",
            f"{100 * (inflation(each.medians, evidence.alone) - 1):.1f} %",
        )
    return shown


def fastest(contenders: Sequence[Contender]) -> Contender:
    """By its median round."""
    return min(contenders, key=lambda each: median(each.seconds))


def speedup(ours: Contender, theirs: Contender) -> float:
    """The median, over the rounds in which they took part, of how many times longer they take."""
    return median(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=False))


def inflation(disturbed: Medians, alone: Medians) -> float:
    """The median ratio, over the kernels that were timed both ways."""
    return median(disturbed[each] / alone[each] for each in disturbed.keys() & alone.keys())


def medians(passes: Sequence[Pass]) -> Medians:
    """Of each kernel on each device: the median of the passes' medians."""
    found: dict[tuple[DeviceKey, str], list[float]] = {}
    for one in passes:
        for device, timings in one.timings.items():
            for request, timing in timings.items():
                found.setdefault((device, request), []).append(timing.median_s)
    return {key: median(values) for key, values in found.items()}


def core_share(
    one: Pass, spent_s: Callable[[DeviceKey], float], cores: Mapping[DeviceKey, frozenset[str]]
) -> float:
    """Share of a pass in which a timing core was used as ``spent_s`` counts it; the mean over those cores.

    Devices that share a core take turns, so the core's share is the sum of theirs.
    """
    every = sorted(frozenset().union(*cores.values()))
    spent = {core: sum(spent_s(each) for each, own in cores.items() if core in own) for core in every}
    return fmean(spent[core] / one.seconds for core in every)


def mean_effort(passes: Sequence[Pass]) -> tuple[float, float]:
    """Repeats, and timed seconds, of a kernel on average."""
    timings = [each for one in passes for several in one.timings.values() for each in several.values()]
    repeats = fmean(len(each.seconds) for each in timings)
    return repeats, fmean(each.number * sum(each.seconds) for each in timings)


def _all(evidence: Evidence) -> tuple[Contender, ...]:
    return (evidence.ours, *evidence.equal, *evidence.default)
