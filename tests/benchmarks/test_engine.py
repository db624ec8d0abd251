import json
import subprocess
import sys
from math import isclose
from pathlib import Path

import pytest

import benchmarks
from benchmarks import engine
from benchmarks.engine_report import (
    FP32,
    INT8,
    ORT_FP32,
    ORT_INT8,
    NetworkResult,
    geometric_mean,
    lines,
    to_dict,
)
from benchmarks.interleave import Quartiles, block, interleave

ROOT = Path(benchmarks.__file__).parents[1]
SECONDS = {FP32: 1e-4, ORT_FP32: 2e-4, INT8: 1e-4, f"{INT8}, VM alone": 9e-5, ORT_INT8: 8e-4}


@pytest.fixture
def result() -> NetworkResult:
    times = {name: Quartiles(0.9 * each, each, 1.2 * each) for name, each in SECONDS.items()}
    accuracy = dict.fromkeys((FP32, INT8, ORT_FP32, ORT_INT8), 0.91)
    return NetworkResult("tiny", times, accuracy, "QDQ", {"QOperator": 0.25}, 400)


def test_the_mean_of_ratios_does_not_depend_on_who_is_divided_by_whom():
    ratios = (0.5, 0.8, 4.0)
    assert isclose(geometric_mean(ratios) * geometric_mean(1 / each for each in ratios), 1)
    assert isclose(geometric_mean((0.25, 1.0)), 0.5)
    with pytest.raises(ValueError, match="run at least one network"):
        geometric_mean(())


def test_ratios_are_ours_by_theirs(result):
    told = to_dict([result], "some processor", {"numpy": "2"})
    assert isclose(told["fp32_vs_ort_fp32"], 0.5)
    assert isclose(told["int8_vs_ort_int8"], 0.125)


def test_the_last_line_holds_all_that_was_found(result):
    told = json.loads(json.dumps(to_dict([result], "some processor", {"numpy": "2"})))
    network = told["networks"]["tiny"]
    assert set(network["ms"]) == set(SECONDS)
    assert network["ms"][ORT_FP32] == pytest.approx([0.18, 0.2, 0.24])
    assert network["accuracy"] == dict(result.accuracy)
    assert network["ort_int8_refused"] == {"QOperator": 0.25}
    assert (told["benchmark"], told["cpu"], told["versions"]) == ("engine", "some processor", {"numpy": "2"})


def test_the_table_names_every_contender_and_who_was_left_out(result):
    table = lines(result)
    assert next(line for line in table if line.startswith(ORT_INT8)).endswith("91.00%")
    assert all(any(line.startswith(name) for line in table) for name in SECONDS)
    assert any("QOperator answers 25.00% right" in line for line in table)


def test_every_contender_runs_in_every_round_and_follows_every_other():
    calls: list[str] = []
    blocks = {name: lambda runs, name=name: float(calls.append(name) or runs) for name in "abc"}
    times = interleave(blocks, rounds=40, runs=3)
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) == 6
    assert times == {name: Quartiles(3, 3, 3) for name in "abc"}


def test_quartiles_are_those_of_the_rounds():
    measured = iter([4.0, 1.0, 5.0, 2.0, 3.0])
    assert interleave({"a": lambda runs: next(measured)}, rounds=5, runs=1) == {"a": Quartiles(2, 3, 4)}


def test_a_block_has_one_run_that_is_not_timed():
    calls: list[None] = []
    assert block(lambda: calls.append(None))(5) > 0
    assert len(calls) == 6


def test_without_onnx_runtime_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert engine.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "onnxruntime is not installed; run `pip install 'blinknet[bench]'`\n"


PINNED = """
import json, os
from benchmarks.machine import cpu_name, keep_to_one_core
core = keep_to_one_core()
import numpy
try:
    keep_to_one_core()
except RuntimeError as error:
    print(json.dumps([core, sorted(os.sched_getaffinity(0)), os.environ["TVM_NUM_THREADS"], str(error)]))
"""


def test_the_process_keeps_to_one_core_before_anything_counts_them():
    done = subprocess.run(
        [sys.executable, "-c", PINNED], cwd=ROOT, check=True, capture_output=True, text=True
    )
    core, cores, threads, refusal = json.loads(done.stdout)
    assert (cores, threads) == ([core], "1")
    assert refusal == "numpy imported before the process was pinned; pin it first"


@pytest.fixture(scope="module")
def contest() -> NetworkResult:
    pytest.importorskip("onnxruntime", reason="the rival is not installed: pip install 'blinknet[bench]'")
    from benchmarks.contest import Effort, compete

    effort = Effort(rounds=2, runs=2, calibration=64, evaluation=200)
    return compete(ROOT / "examples/cifar10_quick/model.onnx", ROOT / "examples/fashion_mnist", effort)


def test_both_engines_answer_alike(contest):
    assert set(contest.accuracy) == {FP32, INT8, ORT_FP32, ORT_INT8}
    assert contest.samples == 200
    assert contest.accuracy[FP32] == contest.accuracy[ORT_FP32] > 0.85
    assert all(each == pytest.approx(contest.accuracy[FP32], abs=0.02) for each in contest.accuracy.values())


def test_every_contender_and_each_part_of_ours_is_timed(contest):
    parts = {f"{name}, {part}" for name in (FP32, INT8) for part in ("VM alone", "sum of kernels")}
    assert set(contest.times) == {FP32, INT8, ORT_FP32, ORT_INT8} | parts
    assert all(0 < each.lower_s <= each.median_s <= each.upper_s for each in contest.times.values())
    assert contest.ort_int8_form not in contest.ort_int8_refused
