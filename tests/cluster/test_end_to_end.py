"""The whole job with a real tracker, real devices and Ray, each command a process of its own."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import runtime
from cluster.choices import read_choices
from cluster.outputs import RunFolder, find, read_result, read_run
from cost_model.store import Store
from network.onnx_import import load
from tests.cluster.jobs import BOUNDS, CIFAR10_QUICK, ROOT, SCALE, CommandLine, Job, tiny_network, write_job
from tests.tracker.servers import stock_server, wait_until
from tracker.device import DeviceKey
from tracker.tracker import TrackerProcess
from workers.build import RUNS_A_TURN
from workers.device import PROFILE_SESSIONS

CLASS = "x86-64-v2"
DEVICE = f"{CLASS}.local"
MEASURED = "SELECT COUNT(*) FROM measurements"


@pytest.fixture(scope="module")
def blinknet() -> Iterator[CommandLine]:
    """Whatever the commands of this file have started is gone at its end."""
    commands = CommandLine()
    yield commands
    assert not commands.left_behind()


@pytest.fixture(scope="module")
def interrupted(blinknet: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, int]:
    """A run whose driver was killed in the middle of measuring, with the kernels measured until then."""
    job = write_job(tmp_path_factory.mktemp("job"), CLASS)
    driver = blinknet.start(*job.arguments)
    there = wait_until(lambda: measured(job) or driver.poll() is not None, 90.0)
    driver.send_signal(signal.SIGKILL)
    output, _ = driver.communicate()
    assert there, output
    assert driver.returncode == -signal.SIGKILL, output
    assert not blinknet.left_behind()
    return job, measured(job)


@pytest.fixture(scope="module")
def job(blinknet: CommandLine, interrupted: tuple[Job, int]) -> Job:
    """The same run after it was started again: finished."""
    started, _ = interrupted
    blinknet.run(*started.arguments)
    return started


@pytest.fixture(scope="module")
def folder(job: Job) -> RunFolder:
    return find(job.folder)


def measured(job: Job) -> int:
    if not job.store.is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"{job.store.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute(MEASURED).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def results(job: Job) -> dict[str, int]:
    """Rows of the store by table, without what happened to devices."""
    with Store(job.store, readonly=True) as store:
        return {name: count for name, count in store.count().items() if name != "device_events"}


def evaluation(job: Job) -> tuple[np.ndarray, np.ndarray]:
    with np.load(job.run_file.parent / "evaluation.npz") as arrays:
        return arrays["x"].astype(np.float32) * np.float32(SCALE), arrays["y"]


def onnx_logits(x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(CIFAR10_QUICK)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: sample[np.newaxis]})[0] for sample in x])


def test_a_killed_run_goes_on_where_it_was(interrupted: tuple[Job, int], job: Job) -> None:
    _, before = interrupted
    with closing(sqlite3.connect(job.store)) as connection:
        keys = connection.execute(
            "SELECT kernel, device_class, target, versions FROM measurements"
        ).fetchall()
    assert 0 < before < len(keys)
    assert len(set(keys)) == len(keys)


def test_kernels_were_read_at_their_places(job: Job) -> None:
    with closing(sqlite3.connect(job.store)) as connection:
        rows = connection.execute(
            "SELECT layer, kernel, clock_s, rest_s, length(seconds) FROM context_readings"
        ).fetchall()
        alone = {key for (key,) in connection.execute("SELECT kernel FROM measurements")}
    assert {layer for layer, *_ in rows} >= {"conv1", "conv2", "conv3"}
    assert {kernel for _, kernel, *_ in rows} <= alone
    assert all(0 < clock_s < rest_s for *_, clock_s, rest_s, _ in rows)
    assert {size for *_, size in rows} == {8 * PROFILE_SESSIONS * RUNS_A_TURN}


def test_the_record_tells_how_the_run_ended(job: Job, folder: RunFolder) -> None:
    record = read_run(folder)
    assert record.verdicts == {DEVICE: "holds"}
    assert record.finished is not None
    assert record.tracker == "embedded"
    assert Path(record.store) == job.store
    assert Path(record.run_file) == job.run_file


def replayed(job: Job, out: Path, seed: int) -> tuple[str, str]:
    """Configuration and choices from a copy of the run's store, in a process with its own hash seed."""
    copy = out / "copy.sqlite"
    out.mkdir()
    shutil.copy(job.store, copy)
    (out / "small").mkdir()
    shutil.copy(job.folder / "rounds.json", out / "small" / "rounds.json")
    command = (sys.executable, "-m", "tests.cluster.replay", str(job.run_file), str(copy), str(out))
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "PYTHONHASHSEED": str(seed)})
    return files(RunFolder(out / "small"))


def files(folder: RunFolder) -> tuple[str, str]:
    """Byte by byte but for when a certificate was issued, and what its bundle weighs to the last byte."""
    plain = folder.configuration(DEVICE).read_text()
    dated = ("  issued:", "  storage_bytes:", "  exact_storage_bytes:")
    kept = [line for line in plain.splitlines() if not line.startswith(dated)]
    return "\n".join(kept), (folder.path / "choices" / f"{DEVICE}.json").read_text()


def test_the_same_measurements_give_the_same_files(job: Job, folder: RunFolder, tmp_path: Path) -> None:
    first, second = (replayed(job, tmp_path / f"seed-{seed}", seed) for seed in (1, 2))
    assert first == second
    assert first == files(folder)


def test_the_configuration_keeps_its_bounds(folder: RunFolder) -> None:
    result = read_result(folder, DEVICE)
    certificate = result.certificate
    assert certificate is not None
    assert (result.verdict, certificate.samples) == ("holds", 300)
    assert certificate.runs >= 100
    assert not result.limits.violated(certificate.costs)
    assert certificate.latency_s <= 0.8 * certificate.exact_latency_s
    assert certificate.peak_bytes <= 0.6 * certificate.exact_peak_bytes
    assert certificate.accuracy >= certificate.exact_accuracy - 0.2
    assert [each.layer for each in result.configuration.layers] == [
        each.name for each in load(CIFAR10_QUICK).layers
    ]
    assert all(each.measured for each in result.configuration.layers)


def test_the_bundle_answers_as_certified(job: Job, folder: RunFolder) -> None:
    certificate = read_result(folder, DEVICE).certificate
    assert certificate is not None
    x, y = evaluation(job)
    session = runtime.load(folder.bundle(DEVICE))
    assert (session.run(x).argmax(axis=1) == y).mean() == pytest.approx(certificate.accuracy)
    assert session.bundle.storage_bytes == pytest.approx(certificate.storage_bytes, rel=0.01)
    assert session.bundle.manifest.configuration == read_result(folder, DEVICE).configuration
    assert session.bundle.manifest.certificate == certificate


def test_the_exact_bundle_answers_like_onnx_runtime(job: Job, folder: RunFolder) -> None:
    x, _ = evaluation(job)
    logits = runtime.load(folder.exact_bundle(DEVICE)).run(x)
    np.testing.assert_allclose(logits, onnx_logits(x), rtol=1e-3, atol=1e-3)


def test_the_chosen_bundle_still_knows_the_network(job: Job, folder: RunFolder) -> None:
    x, _ = evaluation(job)
    same = runtime.load(folder.bundle(DEVICE)).run(x).argmax(axis=1) == onnx_logits(x).argmax(axis=1)
    assert same.mean() > 0.7


def test_there_is_a_report(folder: RunFolder) -> None:
    page = folder.report.read_text()
    assert DEVICE in page
    assert "bounds hold" in page


def test_the_choices_give_the_chosen_configuration_again(folder: RunFolder) -> None:
    (choices,) = read_choices(folder)
    certificate = read_result(folder, DEVICE).certificate
    assert certificate is not None
    assert choices.device == DEVICE
    assert choices.exact.accuracy == certificate.exact_accuracy
    answer = choices.answer(choices.goal)
    assert len(answer.variants) == len(read_result(folder, DEVICE).configuration.layers)


def test_no_half_written_file_is_left(job: Job) -> None:
    names = [each.name for each in job.folder.rglob("*")]
    assert not [each for each in names if each.startswith(".") or "tmp" in each]


def test_configure_answers_without_tvm_and_ray(job: Job) -> None:
    code = (
        "import sys; from cluster.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print('loaded:', sorted({'tvm', 'ray', 'xgboost'} & sys.modules.keys()), 'code:', code)"
    )
    bounds = ("--bound", "latency=90%", "--bound", "loss=15pp")
    done = subprocess.run(
        [sys.executable, "-c", code, "configure", str(job.folder), *bounds],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "loaded: [] code: 0" in done.stdout
    assert "latency=90%@p95" in done.stdout
    assert DEVICE in done.stdout


def test_configure_says_what_would_be_feasible(blinknet: CommandLine, job: Job) -> None:
    output = blinknet.run("configure", str(job.folder), "--bound", "latency=0.1%", code=1)
    assert f"{DEVICE}: INFEASIBLE; with the other bounds kept, the nearest feasible: latency" in output


def test_a_second_run_measures_nothing_new(blinknet: CommandLine, job: Job) -> None:
    before = results(job)
    blinknet.run(*job.arguments)
    assert results(job) == before


def test_an_objective_is_answered_from_the_same_measurements(
    blinknet: CommandLine, job: Job, folder: RunFolder, tmp_path: Path
) -> None:
    run_file, out = job.run_file.with_name("smallest.yaml"), tmp_path / "out"
    stated = f"bounds: {{{BOUNDS}}}"
    run_file.write_text(job.run_file.read_text().replace(stated, f"{stated}\n    objective: storage"))
    shutil.copytree(job.out, out)
    output = blinknet.run("run", str(run_file), "--out", str(out))
    assert f"least storage, {read_result(folder, DEVICE).bounds}" in " ".join(output.split())
    least_loss, smallest = (read_result(each, DEVICE) for each in (folder, find(out / "small")))
    assert (smallest.objective, smallest.verdict) == ("storage", "holds")
    assert smallest.certificate is not None
    assert least_loss.certificate is not None
    assert not smallest.limits.violated(smallest.certificate.costs)
    assert smallest.certificate.storage_bytes <= least_loss.certificate.storage_bytes
    assert "objective: storage" in find(out / "small").configuration(DEVICE).read_text()
    assert "least storage inside the bounds" in find(out / "small").report.read_text()


def test_configure_answers_another_objective(blinknet: CommandLine, job: Job) -> None:
    output = blinknet.run("configure", str(job.folder), "--objective", "latency", "--bound", "loss=15pp")
    assert "least latency, " in output
    assert "loss=15pp" in output


def test_verify_issues_the_certificate_anew(blinknet: CommandLine, job: Job, folder: RunFolder) -> None:
    before = read_result(folder, DEVICE)
    output = blinknet.run("verify", str(job.folder))
    after = read_result(folder, DEVICE)
    assert "holds, 120 runs, 300 samples" in output
    assert after.configuration == before.configuration
    assert after.certificate is not None
    assert before.certificate is not None
    assert after.certificate.accuracy == before.certificate.accuracy
    assert after.certificate.latency_s != before.certificate.latency_s
    assert runtime.load(folder.bundle(DEVICE)).bundle.manifest.certificate == after.certificate


def test_a_stock_server_is_a_device_and_impossible_bounds_get_a_best_effort(
    blinknet: CommandLine, tmp_path: Path
) -> None:
    job = write_job(tmp_path, "lab", "latency: 0.1%, loss: 90pp", tiny_network(tmp_path / "tiny.onnx"))
    key = DeviceKey("lab", "stock")
    with TrackerProcess.start() as tracker, stock_server(tracker.address, key):
        output = blinknet.run(*job.arguments, "--tracker", str(tracker.address), code=1)
    folder = find(job.folder)
    result = read_result(folder, str(key))
    assert result.verdict == "best effort"
    assert result.certificate is not None
    assert result.certificate.runs >= 100
    assert 0.001 * result.certificate.exact_latency_s < (result.nearest["latency"] or 0.0)
    assert json.loads(folder.record.read_text())["tracker"] == str(tracker.address)
    assert f"{key}: INFEASIBLE" in output
    assert runtime.load(folder.bundle(str(key))).run(evaluation(job)[0][:3]).shape == (3, 10)
