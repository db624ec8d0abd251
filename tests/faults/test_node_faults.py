"""A machine of the Ray cluster dies while a job runs on it."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from benchmarks.shelf import Shelf, shelf_of
from cluster.outputs import find, read_run
from tests.cluster.jobs import CommandLine, write_job
from tests.faults.test_run_faults import CLASS, ONE, OPTIONS, TWO, assert_whole, rows
from tests.tracker.servers import wait_until


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with shelf_of(ONE, TWO, options=OPTIONS) as shelf:
        yield shelf


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    """A head that only keeps the books, and two machines that work."""
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield cluster
    cluster.shutdown()
    for process in psutil.Process().children(recursive=True):
        if process.pid not in before:
            process.kill()


def test_a_ray_node_that_is_killed(shelf: Shelf, nodes: Cluster, tmp_path: Path) -> None:
    first, _ = nodes.add_node(num_cpus=1), nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    job, commands = write_job(tmp_path, CLASS), CommandLine()
    commands.environment["RAY_ADDRESS"] = nodes.address
    driver = commands.start(*job.arguments, "--tracker", str(shelf.tracker))
    assert wait_until(lambda: rows(job) or driver.poll() is not None, 120.0)
    assert driver.poll() is None, driver.communicate()[0]
    count = len(rows(job))
    nodes.remove_node(first, allow_graceful=False)
    output, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, output
    assert len(rows(job)) > count
    assert read_run(find(job.folder)).verdicts == {str(ONE): "holds", str(TWO): "holds"}
    assert_whole(job)
    assert not commands.left_behind()
