"""A run on a Ray cluster of several nodes, all on this machine: who drives the devices, and where."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.outputs import find, read_run
from tests.cluster.jobs import ROOT, CommandLine, tiny_network, write_job
from tests.tracker.servers import wait_until
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.tracker import TrackerProcess

CLASS = "x86-64-v2"
UNITS = [DeviceKey(CLASS, "one"), DeviceKey(CLASS, "two")]


@pytest.fixture(scope="module")
def tracker() -> Iterator[Address]:
    with ExitStack() as stack:
        tracker = stack.enter_context(TrackerProcess.start()).address
        for key in UNITS:
            stack.enter_context(AgentProcess.start(tracker, key))
        yield tracker


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A head that only keeps the books, and two machines that work."""
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    with pytest.MonkeyPatch.context() as patch:
        # The commands run in another folder than the project's, and workers import what their node would.
        patch.setenv("PYTHONPATH", str(ROOT))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for _ in range(2):
            cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    _introduce(cluster)
    yield cluster
    cluster.shutdown()
    for process in psutil.Process().children(recursive=True):
        if process.pid not in before:
            process.kill()


@pytest.mark.parametrize(
    ("devices_per_actor", "name", "actors", "places"), [(1, "DeviceDriver", 2, 2), (2, "Gateway", 1, 1)]
)
def test_devices_are_driven_from_several_nodes_or_from_one_process(
    tracker: Address,
    nodes: Cluster,
    tmp_path: Path,
    devices_per_actor: int,
    name: str,
    actors: int,
    places: int,
) -> None:
    (tmp_path / "ray_config.yaml").write_text(
        f"cluster_name: test\nmetadata: {{blinknet: {{devices_per_actor: {devices_per_actor}}}}}\n"
    )
    job = write_job(tmp_path, CLASS, "latency: 1000%@p50, loss: 60pp", tiny_network(tmp_path / "tiny.onnx"))
    commands = CommandLine(tmp_path)
    commands.environment["RAY_ADDRESS"] = nodes.address
    driver = commands.start(*job.arguments, "--tracker", str(tracker))
    seen = _watch(driver, name, actors, places)
    output, _ = driver.communicate(timeout=240.0)
    assert driver.returncode == 0, output
    assert len(seen) >= actors
    assert len(set(seen.values())) == places, seen
    assert read_run(find(job.folder)).verdicts == {str(key): "holds" for key in UNITS}
    assert not commands.left_behind()


def _introduce(cluster: Cluster) -> None:
    """Every node has sent work to every other: one that has not heard of another yet keeps it for itself."""
    cluster.connect()
    try:
        nodes = [each["NodeID"] for each in ray.nodes()]
        ray.get([_on(node, reach).remote(nodes) for node in nodes], timeout=120.0)
    finally:
        ray.shutdown()


def _on(node: str, task: Any) -> Any:
    return task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))


@ray.remote(num_cpus=0)
def reach(nodes: list[str]) -> None:
    """Start a task on each node from here."""
    ray.get([_on(node, reach).remote([]) for node in nodes])


def _watch(driver: subprocess.Popen[str], name: str, actors: int, places: int) -> dict[int, int]:
    """Processes of that name to the node that each belongs to, as soon as there are so many on so many."""
    seen: dict[int, int] = {}

    def look() -> bool:
        for process in psutil.Process().children(recursive=True):
            try:
                if name in " ".join(process.cmdline()):
                    seen[process.pid] = process.ppid()
            except psutil.Error:
                continue
        return (len(seen) >= actors and len(set(seen.values())) >= places) or driver.poll() is not None

    assert wait_until(look, 200.0), f"no {actors} processes called {name} on {places} nodes, only {seen}"
    return seen
