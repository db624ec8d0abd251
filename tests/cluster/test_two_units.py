"""Two real agents of one class, a real tracker and Ray: the work is shared, the certificates are not."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster.outputs import find, read_result
from cost_model.store import Store
from tests.cluster.jobs import CommandLine, tiny_network, write_job
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.tracker import TrackerProcess
from workers.sources import kernel_versions

CLASS = "x86-64-v2"
UNITS = [DeviceKey(CLASS, "one"), DeviceKey(CLASS, "two")]
COMMON = 2
GENEROUS = "latency: 1000%@p50, loss: 60pp"


@pytest.fixture(scope="module")
def blinknet() -> Iterator[CommandLine]:
    commands = CommandLine()
    yield commands
    assert not commands.left_behind()


def test_two_units_share_the_measuring_and_get_one_configuration(blinknet: CommandLine, tmp_path: Path):
    job = write_job(tmp_path, CLASS, GENEROUS, tiny_network(tmp_path / "tiny.onnx"))
    text = job.run_file.read_text()
    job.run_file.write_text(text.replace("budget_s: 0.02", f"budget_s: 0.02, common_requests: {COMMON}"))
    with ExitStack() as stack:
        tracker = stack.enter_context(TrackerProcess.start())
        for key in UNITS:
            stack.enter_context(AgentProcess.start(tracker.address, key))
        output = blinknet.run(*job.arguments, "--tracker", str(tracker.address), timeout_s=240.0)
    assert "speed factor" in output
    results = [read_result(find(job.folder), str(key)) for key in UNITS]
    assert [each.verdict for each in results] == ["holds", "holds"]
    one, two = (each.configuration for each in results)
    assert one.key == two.key
    assert results[0].certificate != results[1].certificate
    with Store(job.store, readonly=True) as store:
        found = store.unit_measurements(CLASS, one.target, kernel_versions())
    assert sorted(map(len, found.values()), reverse=True)[: COMMON + 1] == [2] * COMMON + [1]
    assert {device for units in found.values() for device in units} == set(map(str, UNITS))
