"""The contest behind ``benchmarks.throughput``: devices, contenders, rounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import product
from statistics import mean, median
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.machine import cpu_name, kept_to, other_load
from benchmarks.metaschedule_rival import Effort, Export, Rivals, Way, default_effort, rivals
from benchmarks.throughput_fleet import class_work, fleet, shares
from benchmarks.throughput_ours import Medians, Ours, Pass, warm_up
from benchmarks.throughput_report import Contender, Evidence, core_share, figures, mean_effort, medians, table
from benchmarks.throughput_scaling import scaling
from cluster import crew as ray_crew
from cluster import embedded
from cluster.crew import Crew
from cluster.fleet import timing_cores
from tracker.device import DeviceKey
from tracker.timing import TimingPolicy

SESSION_TIMEOUT_S = 60.0
SCALED_DEVICES, SCALED_BATCH = 16, 8


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    networks: tuple[str, ...]
    approximations: tuple[str, ...] | None
    """Of their layers; all where it is None."""
    devices: int
    kernels: int
    """A device."""
    rounds: int
    own_rounds: int
    """The first ones, in which RPCRunner is also given its own effort."""
    exports: tuple[Export, ...]
    workers: tuple[int, ...]
    """Of RPCRunner, a device."""
    scaled_batches: int
    """Libraries that each of the waiting devices is given in a round."""
    scaled_rounds: int


FULL = Size(
    networks=("cifar10_quick", "vgg16"),
    approximations=None,
    devices=4,
    kernels=24,
    rounds=3,
    own_rounds=2,
    exports=("default", "shared"),
    workers=(1, 2),
    scaled_batches=4,
    scaled_rounds=2,
)
QUICK = Size(
    networks=("cifar10_quick",),
    approximations=("int8",),
    devices=2,
    kernels=16,
    rounds=2,
    own_rounds=1,
    exports=("default",),
    workers=(2,),
    scaled_batches=2,
    scaled_rounds=1,
)


def contest(size: Size, screen: Console) -> dict[str, Any]:
    """Measure, print the table, and give the figures of the last line."""
    load = other_load()
    host, timing = embedded.host_cores(size.devices), embedded.timing_cores(size.devices)
    with kept_to(host), ExitStack() as stack:
        scaled = scaling(SCALED_DEVICES, timing, SCALED_BATCH, size.scaled_batches, size.scaled_rounds)
        tracker, keys = stack.enter_context(fleet(timing))
        ray_crew.connect()
        crew = stack.enter_context(closing(Crew(tracker, SESSION_TIMEOUT_S)))
        said = warm_up(crew, keys)
        cores = {key: timing_cores(each) for key, each in said.items()}
        screen.print(_setting(size, cores, host, load), markup=False)
        work = class_work(size.networks, size.approximations, said, size.kernels)
        ours = Ours(crew, said, work, host)
        ours.measure(keys)  # Ray's workers have then compiled, and the actors have timed.
        them = stack.enter_context(
            rivals(tracker, work, shares(work, keys), size.exports, size.workers, len(host))
        )
        evidence = _play(size, ours, them, keys, cores)
    screen.print(table(evidence))
    return figures(evidence) | {"scaling_16_devices": scaled, "other_load": load}


def _setting(size: Size, cores: Mapping[DeviceKey, frozenset[str]], host: Sequence[int], load: float) -> str:
    timed = sorted({int(each.rpartition("/")[2]) for several in cores.values() for each in several})
    on, elsewhere = (", ".join(map(str, each)) for each in (timed, host))
    return (
        f"{cpu_name()}; {size.devices} devices time on core {on}, all else runs on core {elsewhere}; "
        f"{size.kernels} kernels a device, {size.rounds} rounds; others took {load:.0%} of all cores before"
    )


@dataclass(frozen=True, slots=True)
class _Turn:
    """One pass of RPCRunner."""

    effort: Effort
    seconds: float
    medians: Medians


def _play(
    size: Size, ours: Ours, them: Rivals, keys: Sequence[DeviceKey], cores: Mapping[DeviceKey, frozenset[str]]
) -> Evidence:
    """Everybody once a round; we begin, as a restless machine makes us repeat more, and then the rival too.

    The others come in an order that is shuffled anew, always the same way.
    """
    passes: dict[str, list[Pass]] = {"ours": [], "building": [], "alone": []}
    theirs: dict[Way, list[_Turn]] = {each: [] for each in _ways(size)}
    order = np.random.default_rng(0)
    for number in range(size.rounds):
        passes["ours"].append(ours.measure(keys))
        turns: list[Callable[[], object]] = [
            lambda: passes["building"].append(ours.measure(keys, afresh=True)),
            lambda: passes["alone"].extend(ours.measure([each]) for each in _only_ones(keys)),
            *(
                partial(_take_turn, them, way, passes["ours"][-1], several)
                for way, several in theirs.items()
                if number < size.own_rounds or not way.own_effort
            ),
        ]
        for index in order.permutation(len(turns)):
            turns[index]()
    contenders = {way: _contender(way, several) for way, several in theirs.items()}
    return Evidence(
        kernels=passes["ours"][0].count,
        ours=_us(passes["ours"]),
        equal=tuple(each for way, each in contenders.items() if not way.own_effort),
        default=tuple(each for way, each in contenders.items() if way.own_effort),
        our_building_s=tuple(each.with_building_s for each in passes["building"]),
        their_building_s=them.building_s,
        busy_shares=tuple(core_share(each, each.timed_s, cores) for each in passes["ours"]),
        executing_shares=tuple(core_share(each, each.executed_s, cores) for each in passes["ours"]),
        alone=medians(passes["alone"]),
        together=medians([*passes["ours"], *passes["building"]]),
    )


def _take_turn(them: Rivals, way: Way, ours: Pass, turns: list[_Turn]) -> None:
    effort = default_effort() if way.own_effort else equal_effort(ours)
    turns.append(_Turn(effort, *them.run(way, effort)))


def equal_effort(ours: Pass) -> Effort:
    """As many repeats as we took on average, and as long."""
    repeats, _ = mean_effort([ours])
    return Effort(1, round(repeats), round(1e3 * TimingPolicy().min_repeat_s))


def _only_ones(keys: Sequence[DeviceKey]) -> list[DeviceKey]:
    """Devices that time all kernels of their class, alone and with others around."""
    units = Counter(each.device_class for each in keys)
    return [each for each in keys if units[each.device_class] == 1] or list(keys[:1])


def _ways(size: Size) -> list[Way]:
    """RPCRunner with our effort in every way, and with its own in the way that is usually the fastest."""
    return [
        *(Way(export, workers) for export, workers in product(size.exports, size.workers)),
        Way("default", max(size.workers), own_effort=True),
    ]


def _us(passes: Sequence[Pass]) -> Contender:
    repeats, timed_s = mean_effort(passes)
    effort = f"{repeats:.0f} repeats, {1e3 * timed_s:.0f} ms in all"
    return Contender("BlinkNet", effort, tuple(each.seconds for each in passes), medians(passes))


def _contender(way: Way, turns: Sequence[_Turn]) -> Contender:
    repeats, least_ms = mean(each.effort.repeat for each in turns), turns[0].effort.min_repeat_ms
    return Contender(
        way.name,
        f"{repeats:.0f} repeats, each {least_ms} ms or more",
        tuple(each.seconds for each in turns),
        {key: median(each.medians[key] for each in turns) for key in turns[0].medians},
    )
