"""Two real devices on one core: a run times them one after the other, and compiles elsewhere."""

import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from cost_model.errors import StoreError
from cost_model.store import Store
from tests.cluster.jobs import CommandLine, Job, tiny_network, write_job
from tests.tracker.servers import wait_until
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.tracker import TrackerProcess

CLASSES = ("x86-64-v2", "x86-64-v3")
CORE = max(os.sched_getaffinity(0))
LOOK_S = 0.02
HOST_WORK = ("ray::build", "ray::evaluate", "ray::assemble", "ray::refit", "ray::answer")

pytestmark = [
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs a core to compile on"),
    pytest.mark.timeout(600),
]


@dataclass
class Seen:
    """What a run's processes were doing, look by look."""

    timing: list[frozenset[str]] = field(default_factory=list)
    """Classes whose session was computing."""
    host_cores: set[int] = field(default_factory=set)
    """Those that compiling and evaluating may use."""


def computing(agent: AgentProcess) -> bool:
    """Whether the device's session is at work; an open one that waits sleeps."""
    try:
        sessions = psutil.Process(agent.pid).children()
        return any(each.status() == psutil.STATUS_RUNNING for each in sessions)
    except psutil.Error:
        return False


def host_cores(driver: "subprocess.Popen[str]") -> set[int]:
    cores: set[int] = set()
    try:
        for each in psutil.Process(driver.pid).children(recursive=True):
            command = each.cmdline()
            if command and command[0].startswith(HOST_WORK) and each.status() == psutil.STATUS_RUNNING:
                cores |= set(each.cpu_affinity())
    except psutil.Error:
        pass
    return cores


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A whole run, watched from its first timing on."""
    folder, commands, seen = tmp_path_factory.mktemp("job"), CommandLine(), Seen()
    job = write_job(folder, CLASSES[0], network=tiny_network(folder / "tiny.onnx"))
    text = job.run_file.read_text()
    bounds = text[text.index("    bounds") : text.index("approximations")]
    job.run_file.write_text(text.replace("approximations", f"  {CLASSES[1]}:\n{bounds}approximations", 1))
    with TrackerProcess.start() as tracker:
        agents = {
            name: AgentProcess.start(tracker.address, DeviceKey(name, "one"), isa=name, cores=[CORE])  # type: ignore[arg-type]
            for name in CLASSES
        }
        driver = commands.start(*job.arguments, "--tracker", str(tracker.address))
        try:
            watch(driver, job, agents, seen)
            output, _ = driver.communicate()
            assert driver.returncode in (0, 1), output
        finally:
            driver.kill()
            driver.wait()
            for agent in agents.values():
                agent.stop()
    assert not commands.left_behind()
    return seen


def watch(driver: "subprocess.Popen[str]", job: Job, agents: dict[str, AgentProcess], seen: Seen) -> None:
    # Devices describe themselves before, at the same time: that is not timing.
    wait_until(lambda: driver.poll() is not None or measured(job.store), 200.0)
    while driver.poll() is None:
        seen.timing.append(frozenset(name for name, agent in agents.items() if computing(agent)))
        if len(seen.timing) % 10 == 0:
            seen.host_cores |= host_cores(driver)
        time.sleep(LOOK_S)


def measured(path: Path) -> bool:
    """Whether a run has measured anything yet."""
    if not path.is_file():
        return False
    try:
        with Store(path, readonly=True) as store:
            return store.count()["measurements"] > 0
    except StoreError:
        return False


def test_they_never_time_at_once(seen: Seen) -> None:
    both = [index for index, names in enumerate(seen.timing) if len(names) == len(CLASSES)]
    # One session may still be ending while the next one begins.
    lasting = [index for index in both if index + 1 in both]
    assert not lasting
    assert frozenset().union(*seen.timing) == set(CLASSES)


def test_compiling_keeps_off_their_core(seen: Seen) -> None:
    assert seen.host_cores
    assert CORE not in seen.host_cores
