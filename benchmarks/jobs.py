"""Jobs that a benchmark has solved: a network of the examples, a class of this machine, and a goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console

from benchmarks.networks import SHIPPED
from cluster.goal import Goal
from cluster.job import load_inputs
from cluster.outputs import RunFolder, prepare, read_result
from cluster.progress import ProgressView
from cluster.run import Execution
from cluster.settings import ClusterSettings, load_run_file
from cluster.site import open_site
from cost_model.store import Store
from workers.sources import accuracy_versions


@dataclass(frozen=True, slots=True)
class Job:
    """One goal for the embedded device of one class."""

    network: str
    device_class: str
    goal: Goal
    name: str
    """Of its folder."""

    @property
    def device(self) -> str:
        """The embedded device of its class."""
        return f"{self.device_class}.local"

    def folder(self, out: Path) -> RunFolder:
        """Where it is handed over."""
        return prepare(out, self.name)

    def solved(self, out: Path) -> bool:
        """Whether an earlier call with the same sources handed it over."""
        folder = self.folder(out)
        if not folder.configuration(self.device).is_file():
            return False
        result = read_result(folder, self.device)
        certified = result.certificate and result.certificate.versions["results"] == accuracy_versions()
        return result.goal == self.goal and bool(certified)


def solve(jobs: Sequence[Job], out: Path, screen: Console) -> None:
    """Hand over what is not there yet; all jobs of a network share one site and one store."""
    for network, several in groupby(jobs, key=lambda each: each.network):
        if missing := [each for each in several if not each.solved(out)]:
            _solve(network, missing, out, screen)


def run_file(network: str) -> Path:
    """Beside the network."""
    return SHIPPED[network].with_name("run.yaml")


def _solve(network: str, jobs: Sequence[Job], out: Path, screen: Console) -> None:
    path, classes = run_file(network), {each.device_class for each in jobs}
    whole = load_run_file(path)
    devices = {name: each for name, each in whole.devices.items() if name in classes}
    run = whole.model_copy(update={"devices": devices})
    with (
        Store(prepare(out, network).store) as store,
        open_site(run, load_inputs(run), ClusterSettings(), None, screen) as site,
    ):
        for number, job in enumerate(jobs, start=1):
            screen.print(f"{network} {number}/{len(jobs)}: {job.device_class} {job.goal}", markup=False)
            with ProgressView(screen) as view:
                goals = {job.device_class: job.goal}
                Execution(site, path, job.folder(out), store, goals).run(view)
