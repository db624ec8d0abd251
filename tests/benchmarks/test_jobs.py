from dataclasses import replace

import pytest

from benchmarks import jobs
from benchmarks.jobs import Job, solve
from cluster.device_result import DeviceResult
from cluster.goal import Goal
from cluster.outputs import write_result
from cluster.tables import console
from runtime.bounds import Bounds
from runtime.configuration import Certificate, Configuration, Costs
from workers.sources import accuracy_versions

BOUNDS = Bounds.parse({"loss": "1pp"})
JOB = Job("cifar10_quick", "x86-64-v4", Goal(BOUNDS, "storage"), "small")
COSTS = Costs(1e-4, 1000, 1000, 0.0)
CERTIFICATE = Certificate(
    verdict="holds",
    device=JOB.device,
    runs=100,
    percentile=95,
    confidence=0.95,
    latency_s=1e-4,
    median_s=1e-4,
    exact_latency_s=1e-4,
    exact_median_s=1e-4,
    peak_bytes=1000,
    exact_peak_bytes=1000,
    storage_bytes=1000,
    exact_storage_bytes=1000,
    accuracy=0.9,
    exact_accuracy=0.9,
    loss_pp=0.0,
    samples=100,
    rounds=0,
    issued="2026-01-01",
    versions={"results": accuracy_versions()},
)
RESULT = DeviceResult(
    Configuration("cifar10_quick", "ab" * 32, "x86-64-v4", "local", "llvm", (), COSTS),
    BOUNDS,
    BOUNDS.resolve(CERTIFICATE.exact),
    CERTIFICATE,
    {},
    "storage",
)


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the jobs for which a site is opened."""
    opened: list[str] = []
    monkeypatch.setattr(
        jobs, "_solve", lambda network, several, out, screen: opened.extend(each.name for each in several)
    )
    return opened


def test_what_is_handed_over_is_not_solved_again(tmp_path, sites):
    assert not JOB.solved(tmp_path)
    write_result(JOB.folder(tmp_path), RESULT)
    assert JOB.solved(tmp_path)
    solve([JOB, replace(JOB, name="other"), replace(JOB, network="vgg16", name="third")], tmp_path, console())
    assert sites == ["other", "third"]


@pytest.mark.parametrize(
    "older",
    [
        replace(RESULT, certificate=None),
        replace(RESULT, certificate=replace(CERTIFICATE, versions={"results": "older sources"})),
        replace(RESULT, objective="memory"),
    ],
)
def test_a_result_of_other_sources_or_for_another_goal_is_none(tmp_path, sites, older):
    write_result(JOB.folder(tmp_path), older)
    solve([JOB], tmp_path, console())
    assert sites == ["small"]
