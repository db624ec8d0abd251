"""What goes wrong while a job runs: it ends complete, nothing is lost or doubled, nothing is left behind."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from benchmarks.shelf import Board, Shelf, can_make_networks, shelf_of
from cluster.outputs import find, read_run
from cluster.settings import MeasureSettings
from cost_model.device_event import DeviceEvent
from cost_model.store import Store
from tests.cluster.jobs import MARK, ROOT, CommandLine, Job, write_job
from tests.tracker.servers import wait_until
from tracker.device import DeviceKey

CLASS = "x86-64-v2"
ONE, TWO = DeviceKey(CLASS, "one"), DeviceKey(CLASS, "two")
CORE = str(max(os.sched_getaffinity(0)))
OPTIONS = ("--isa", CLASS, "--cores", CORE)
ROWS = "SELECT kernel, failure IS NULL, device FROM measurements"


@pytest.fixture(scope="module")
def shelf() -> Iterator[Shelf]:
    with shelf_of(ONE, TWO, options=OPTIONS) as shelf:
        yield shelf


@pytest.fixture
def blinknet() -> Iterator[CommandLine]:
    commands = CommandLine()
    yield commands
    assert not commands.left_behind()


def rows(job: Job) -> list[tuple[str, int, str]]:
    """Kernels in the store, whether each gave a time, and who measured it."""
    try:
        with closing(sqlite3.connect(f"{job.store.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(ROWS).fetchall()
    except sqlite3.OperationalError:
        return []


def story(job: Job) -> tuple[DeviceEvent, ...]:
    with Store(job.store, readonly=True) as store:
        return store.device_events()


def assert_whole(job: Job) -> None:
    """Every kernel was timed, and once; the common ones once by each unit."""
    found = rows(job)
    assert all(timed for _, timed, _ in found)
    assert len({(kernel, device) for kernel, _, device in found}) == len(found)
    often = [kernel for kernel, count in Counter(kernel for kernel, _, _ in found).items() if count > 1]
    assert len(often) <= MeasureSettings().common_requests


def actors(commands: CommandLine) -> list[psutil.Process]:
    """Ray's processes that drive devices."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                "DeviceDriver" in " ".join(process.cmdline())
                and process.environ().get(MARK) == commands.environment[MARK]
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


@dataclass(frozen=True)
class Battered:
    """A finished run, and what was done to it: moments by the clock of the story."""

    job: Job
    actor_killed_s: float
    sessions_killed_s: tuple[float, ...]
    rebooted_s: float


@pytest.fixture(scope="module")
def battered(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Battered:
    commands, job = CommandLine(), write_job(tmp_path_factory.mktemp("battered"), CLASS)
    driver = commands.start(*job.arguments, "--tracker", str(shelf.tracker))
    boards = list(shelf.boards.values())

    def happens(condition: object) -> float:
        assert callable(condition)
        assert wait_until(lambda: condition() or driver.poll() is not None, 120.0)
        assert driver.poll() is None, driver.communicate()[0]
        return time.time()

    happens(lambda: rows(job))
    happens(lambda: [each for each in actors(commands) if not each.kill()])
    actor_killed_s = time.time()
    count = len(rows(job))
    happens(lambda: len(rows(job)) > count)
    kills: list[float] = []
    happens(lambda: any(_killed_at_work(job, each, kills) for each in boards))
    happens(boards[0].session)
    boards[0].wipe()
    rebooted_s = time.time()
    happens(lambda: any(each.kind == "lost" for each in story(job)))
    boards[0].start()
    output, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, output
    assert not commands.left_behind()
    return Battered(job, actor_killed_s, tuple(kills), rebooted_s)


def _killed_at_work(job: Job, board: Board, kills: list[float]) -> bool:
    """Whether a session was killed that measured: one between two batches is replaced without a word."""
    count, now = len(rows(job)), time.time()
    if not board.kill_session():
        return False
    kills.append(now)
    wait_until(lambda: len(rows(job)) > count or told(job, "fault", "crash", now), 5.0)
    return told(job, "fault", "crash", now)


def told(job: Job, kind: str, text: str, since_s: float) -> bool:
    """Whether the story says so within ten seconds."""
    return any(
        each.kind == kind and text in each.reason and since_s - 1.0 <= each.at_s <= since_s + 10.0
        for each in story(job)
    )


def test_a_battered_run_ends_complete(battered: Battered) -> None:
    record = read_run(find(battered.job.folder))
    assert record.verdicts == {str(ONE): "holds", str(TWO): "holds"}
    assert_whole(battered.job)


def test_a_killed_worker_is_in_the_story(battered: Battered) -> None:
    assert told(battered.job, "fault", "the process that drives it died", battered.actor_killed_s)


def test_a_killed_session_is_in_the_story(battered: Battered) -> None:
    assert any(told(battered.job, "fault", "crash", each) for each in battered.sessions_killed_s)


def test_a_rebooted_device_is_in_the_story(battered: Battered) -> None:
    assert told(battered.job, "lost", "registered", battered.rebooted_s)
    events = [each for each in story(battered.job) if each.device == str(ONE)]
    assert [each.kind for each in events if each.kind in ("joined", "lost")] == ["joined", "lost", "joined"]


def test_two_drivers_share_a_fleet(shelf: Shelf, blinknet: CommandLine, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    jobs = [write_job(folder, CLASS) for folder in folders]
    drivers = [blinknet.start(*each.arguments, "--tracker", str(shelf.tracker)) for each in jobs]
    for job, driver in zip(jobs, drivers, strict=True):
        output, _ = driver.communicate(timeout=280)
        assert driver.returncode == 0, output
        assert_whole(job)


@pytest.mark.parametrize("moment", ["importing", "starting Ray", "measuring"])
def test_ctrl_c_at_any_moment(blinknet: CommandLine, tmp_path: Path, moment: str) -> None:
    job = write_job(tmp_path, CLASS)
    driver = subprocess.Popen(
        [sys.executable, "-m", "cluster", *job.arguments],
        cwd=ROOT,
        env=blinknet.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # A terminal sends Ctrl-C to the whole group.
    )
    assert driver.stdout is not None
    if moment == "importing":
        time.sleep(1.0)
    elif moment == "starting Ray":
        assert driver.stdout.readline()
    else:
        assert wait_until(lambda: rows(job) or driver.poll() is not None, 90.0)
    os.killpg(driver.pid, signal.SIGINT)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, output
    assert "the same command goes on from here" in output
    assert "Traceback" not in output


@pytest.mark.skipif(not can_make_networks(), reason="takes root, to mount a disk that can be filled")
def test_a_store_on_a_full_disk(shelf: Shelf, blinknet: CommandLine, tmp_path: Path) -> None:
    job = write_job(tmp_path, CLASS)
    job.out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(job.out)], check=True)
    try:
        driver = blinknet.start(*job.arguments, "--tracker", str(shelf.tracker))
        assert wait_until(lambda: rows(job) or driver.poll() is not None, 90.0)
        ballast = job.out / "ballast"
        with ballast.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        output, _ = driver.communicate(timeout=120)
        assert driver.returncode == 2, output
        assert "free disk space" in output
        assert "Traceback" not in output
        before = len(rows(job))
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(job.out)], check=True)
        blinknet.run(*job.arguments, "--tracker", str(shelf.tracker), timeout_s=240)
        assert len(rows(job)) > before
        assert_whole(job)
    finally:
        subprocess.run(["umount", "--lazy", str(job.out)], check=True)
