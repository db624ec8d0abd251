import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cluster.goal import Goal
from cluster.outputs import (
    DeviceResult,
    OutputError,
    RunRecord,
    find,
    prepare,
    read_result,
    read_run,
    write_atomically,
    write_result,
    write_run,
)
from runtime.bounds import Bounds
from runtime.configuration import Certificate, Configuration, Costs, LayerChoice

CERTIFICATE = Certificate(
    verdict="holds",
    device="x86-64-v3.unit.02",
    runs=300,
    percentile=95.0,
    confidence=0.95,
    latency_s=6.1e-5,
    median_s=5.7e-5,
    exact_latency_s=3.1e-4,
    exact_median_s=3e-4,
    peak_bytes=220_000,
    exact_peak_bytes=400_000,
    storage_bytes=310_000,
    exact_storage_bytes=700_000,
    accuracy=0.905,
    exact_accuracy=0.9109,
    loss_pp=0.59,
    samples=10_000,
    rounds=2,
    issued="2026-01-31",
    versions={"tvm": "0.27.0.post1"},
)
LAYERS = (
    LayerChoice("conv1", "int8", "float32", "uint8", ((8, 1),), 8e-06, 3000, 1e-4, measured=True),
    LayerChoice(
        "conv2", "int8+lowrank(1/2)", "uint8", "float32", ((8, 1), (4, 4)), 2.1e-5, 9000, 2e-3, measured=False
    ),
)
BOUNDS = Bounds.parse({"latency": "20%", "memory": "1MiB", "loss": "1pp"})
RESULT = DeviceResult(
    Configuration(
        "quick", "ab" * 32, "x86-64-v3", "unit.02", "llvm", LAYERS, Costs(6e-5, 2**18, 300_000, 0.6)
    ),
    BOUNDS,
    BOUNDS.resolve(CERTIFICATE.exact),
    CERTIFICATE,
    {},
)
RECORD = RunRecord(
    "quick",
    "quick.yaml",
    "quick",
    "ab" * 32,
    "embedded",
    "m.sqlite",
    "2026-01-31T10:00:00",
    None,
    {},
    {"ray": "2.60"},
)


def test_a_result_is_read_back_as_written(tmp_path):
    folder = prepare(tmp_path, "quick")
    write_result(folder, RESULT)
    assert folder.devices() == ("x86-64-v3.unit.02",)
    assert read_result(folder, "x86-64-v3.unit.02") == RESULT


def test_an_infeasible_result_without_certificate_is_read_back(tmp_path):
    folder = prepare(tmp_path, "quick")
    result = replace(RESULT, certificate=None, nearest={"latency": 7.5e-5, "memory": None})
    write_result(folder, result)
    assert read_result(folder, "x86-64-v3.unit.02") == result
    assert result.verdict == "unverified"


def test_the_file_is_made_for_readers(tmp_path):
    path = write_result(prepare(tmp_path, "quick"), RESULT)
    text = path.read_text()
    assert list(yaml.safe_load(text))[:3] == ["device", "verdict", "network"]
    assert "  tiles: [[8, 1], [4, 4]]\n" in text
    assert "latency: 20%@p95\n" in text
    assert yaml.safe_load(text)["verified"]["loss_pp"] == 0.59
    assert "&id" not in text
    assert "\nobjective: loss\n" in text


def test_an_objective_is_read_back_and_no_other_is_taken_for_one(tmp_path):
    folder = prepare(tmp_path, "quick")
    path = write_result(folder, replace(RESULT, objective="storage"))
    assert read_result(folder, "x86-64-v3.unit.02").goal == Goal(BOUNDS, "storage")
    path.write_text(path.read_text().replace("objective: storage", "objective: speed"))
    with pytest.raises(OutputError, match="its objective is 'speed', none of loss, latency, memory, storage"):
        read_result(folder, "x86-64-v3.unit.02")


def test_a_run_is_read_back_as_written(tmp_path):
    folder = prepare(tmp_path, "quick")
    write_run(folder, RECORD)
    finished = replace(RECORD, finished="2026-01-31T10:02:00", verdicts={"x86-64-v3.unit.02": "holds"})
    write_run(folder, finished)
    assert read_run(find(tmp_path / "quick")) == finished


def test_preparing_twice_keeps_what_is_there(tmp_path):
    write_run(prepare(tmp_path, "quick"), RECORD)
    assert read_run(prepare(tmp_path, "quick")) == RECORD


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot be written: .*; name another folder with --out"):
        prepare(tmp_path / "file", "quick")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
def test_a_read_only_folder_is_refused_before_any_work(tmp_path):
    tmp_path.chmod(0o755)
    code = "import os, sys; from pathlib import Path; from cluster.outputs import prepare; os.setuid(65534); "
    script = code + "prepare(Path(sys.argv[1]), 'quick')"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert "OutputError" in done.stderr
    assert "cannot be written" in done.stderr


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("old")

    def no_space(self: Path, _: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]
    assert path.read_text() == "old"


def test_what_is_no_run_is_told_so(tmp_path):
    with pytest.raises(OutputError, match=r"is no run: it has no run\.json"):
        find(tmp_path)


@pytest.mark.parametrize("text", ["", "- a", "device: 3", "device: [", "device: a.b\nnetwork: c"])
def test_a_changed_result_is_refused(tmp_path, text):
    folder = prepare(tmp_path, "quick")
    folder.configuration("a.b").write_text(text)
    with pytest.raises(
        OutputError, match=r"a\.b\.yaml is not what BlinkNet wrote: .*run `blinknet run` again"
    ):
        read_result(folder, "a.b")


def test_a_changed_record_is_refused(tmp_path):
    folder = prepare(tmp_path, "quick")
    folder.record.write_text('{"name": "quick"}')
    with pytest.raises(OutputError, match=r"run\.json is not what BlinkNet wrote: .*has no"):
        read_run(folder)


def test_a_result_that_was_never_written_is_told_so(tmp_path):
    with pytest.raises(OutputError, match=r"a\.b\.yaml cannot be read: No such file"):
        read_result(prepare(tmp_path, "quick"), "a.b")
