"""Where a job runs: a fleet that answers, Ray, and the network's material; ready for any bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console

from cluster import crew
from cluster.crew import Crew
from cluster.embedded import embedded_fleet, local_classes
from cluster.fleet import Fleet, this_host, timing_cores
from cluster.job import Inputs, Material, load_material, plan, target_of
from cluster.planning import ClassPlan
from cluster.settings import ClusterSettings, RunFile
from cluster.settings_fields import EMBEDDED
from cluster.survey import survey
from cluster.texts import device_text
from cluster.work import Work
from network.link import linker
from network.target import Target
from tracker.address import Address
from tracker.device import Description


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """Everything that does not depend on the bounds."""

    job: RunFile
    cluster: ClusterSettings
    tracker: Address
    embedded: bool
    """Whether the fleet is this process's own."""
    descriptions: Mapping[str, Description]
    """Class to what one of its devices says about itself."""
    targets: Mapping[str, Target]
    material: Material
    plans: Mapping[str, ClassPlan]
    work: Work
    crew: Crew


@contextmanager
def open_site(
    job: RunFile, inputs: Inputs, cluster: ClusterSettings, tracker: str | None, console: Console
) -> Iterator[Site]:
    """A site for as long as the block lasts; what cannot work is found before Ray starts.

    Raises errors of our packages.
    """
    stated = (
        Address.parse(tracker) if tracker else job.tracker if job.tracker != EMBEDDED else cluster.tracker
    )
    if isinstance(stated, Address):
        stated = replace(stated, access=cluster.access)
    with _fleet(job, stated, console) as (address, classes):
        tell = partial(console.print, markup=False)
        descriptions = survey(Fleet(address, classes), cluster.session_timeout_s, cluster.patience_s, tell)
        targets = {name: target_of(job.devices[name], each) for name, each in descriptions.items()}
        for target in targets.values():
            # A kernel that did not link would count as one that fails on the device, for ever.
            linker(target.mtriple)
            _ = target.isa  # Raises for a processor that we have no kernels for.
        names = ", ".join(device_text(n, emulated=descriptions[n].emulated) for n in sorted(descriptions))
        console.print(f"tracker {address}: {names}", markup=False, soft_wrap=True)
        # In this thread, alone: Ray forks while it starts, which does not bear numpy's threads at work, and
        # its processes end with the thread that started them.
        crew.connect()
        yield from _ready(job, cluster, address, descriptions, targets, inputs, embedded=stated == EMBEDDED)


def _ready(
    job: RunFile,
    cluster: ClusterSettings,
    address: Address,
    descriptions: Mapping[str, Description],
    targets: Mapping[str, Target],
    inputs: Inputs,
    *,
    embedded: bool,
) -> Iterator[Site]:
    material = load_material(job, inputs)
    plans = plan(material, targets)
    team = Crew(address, cluster.session_timeout_s, cluster.devices_per_actor)
    work = Work(job, material, plans, build_cores(list(descriptions.values())))
    try:
        yield Site(job, cluster, address, embedded, descriptions, targets, material, plans, work, team)
    finally:
        team.close()


def build_cores(descriptions: list[Description]) -> tuple[int, ...]:
    """Cores of this machine where to compile: not those on which its own devices are being timed."""
    ours = os.sched_getaffinity(0)
    here = [each for each in descriptions if each.host == this_host()]
    timed = {int(core.rpartition("/")[2]) for each in here for core in timing_cores(each)}
    return tuple(sorted(ours - timed or ours))


@contextmanager
def _fleet(job: RunFile, stated: object, console: Console) -> Iterator[tuple[Address, tuple[str, ...]]]:
    """The tracker's address and the classes that can be configured there."""
    if isinstance(stated, Address):
        yield stated, tuple(job.devices)
        return
    local = local_classes()
    classes = tuple(name for name in job.devices if name in local or not name.startswith("x86-64-"))
    for name in sorted(set(job.devices) - set(classes)):
        console.print(f"left out: this machine's CPU is no {name}", markup=False)
    with embedded_fleet(classes) as address:
        yield address, classes
