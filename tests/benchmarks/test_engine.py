import json
import os
import subprocess
import sys
from dataclasses import replace
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
SECONDS = {FP32: 1e-4, ORT_FP32: 2e-4, INT8: 1e-4, ORT_INT8: 8e-4}


@pytest.fixture
def result() -> NetworkResult:
    times = {name: Quartiles(0.9 * each, each, 1.2 * each) for name, each in SECONDS.items()}
    accuracy = dict.fromkeys((FP32, INT8, ORT_FP32, ORT_INT8), 0.91)
    kernels = {FP32: 9e-5, INT8: 8e-5}
    return NetworkResult("vgg16", 1, times, kernels, accuracy, 1e-6, 400, "QDQ", {"QOperator": 0.25}, 0.9)


@pytest.fixture
def threaded(result) -> NetworkResult:
    """Half as far ahead."""
    slower = {name: Quartiles(1, 2 if "BlinkNet" in name else 1, 3) for name in SECONDS}
    return replace(result, threads=2, times=slower, kernels_s={}, share_of_peak=None)


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


def test_threads_are_told_apart_and_the_worst_is_named(result, threaded):
    told = to_dict([result, threaded], "some processor", {"numpy": "2"})
    assert isclose(told["fp32_vs_ort_fp32"], 1.0)
    assert isclose(told["by_threads"][1]["fp32_vs_ort_fp32"], 0.5)
    assert isclose(told["by_threads"][2]["int8_vs_ort_int8"], 2.0)
    assert told["worst"]["int8_vs_ort_int8"] == {"network": "vgg16", "threads": 2, "ratio": 2.0}
    assert told["conv_share_of_peak"] == pytest.approx(0.9)


def test_only_convolutional_networks_are_held_against_the_peak(result):
    told = to_dict([replace(result, network="activity")], "some processor", {})
    assert told["conv_share_of_peak"] is None


def test_the_last_line_holds_all_that_was_found(result):
    told = json.loads(json.dumps(to_dict([result], "some processor", {"numpy": "2"})))
    (network,) = told["networks"]
    assert (network["network"], network["threads"], network["samples"]) == ("vgg16", 1, 400)
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
    assert any("0.0900 ms (BlinkNet exact)" in line and "90% of peak" in line for line in table)


def test_every_contender_runs_in_every_round_and_follows_every_other():
    calls: list[str] = []
    blocks = {name: lambda runs, name=name: float(calls.append(name) or runs) for name in "abc"}
    times = interleave(blocks, 40, dict.fromkeys("abc", 3))
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) == 6
    assert times == {name: Quartiles(3, 3, 3) for name in "abc"}


def test_quartiles_are_those_of_the_rounds():
    measured = iter([4.0, 1.0, 5.0, 2.0, 3.0])
    assert interleave({"a": lambda runs: next(measured)}, 5, {"a": 1}) == {"a": Quartiles(2, 3, 4)}


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


def test_an_unknown_network_is_refused_with_the_known_ones(monkeypatch, capsys):
    monkeypatch.setattr(engine, "use_all_cores", lambda: (0,))
    assert engine.main(["lenet"]) == 2
    _, err = capsys.readouterr()
    assert "no network lenet; choose from cifar10_quick, vgg16, " in err


@pytest.fixture(scope="module", params=["cifar10_quick", "stereo"])
def contest(request) -> tuple[NetworkResult, ...]:
    pytest.importorskip("onnxruntime", reason="the rival is not installed: pip install 'blinknet[bench]'")
    from benchmarks.contest import Effort, compete

    cores = tuple(sorted(os.sched_getaffinity(0)))[:2]
    return tuple(compete(request.param, Effort(0.01, 64, 200), cores))


def test_one_thread_and_all_cores_compete(contest):
    assert [each.threads for each in contest] == [1, 2][: len(contest)]
    alone, *together = contest
    assert set(alone.kernels_s) == {FP32, INT8}
    assert alone.share_of_peak > 0
    assert all(not each.kernels_s and each.share_of_peak is None for each in together)


def test_both_engines_answer_alike(contest):
    for each in contest:
        assert set(each.accuracy) == {FP32, INT8, ORT_FP32, ORT_INT8}
        assert each.difference < 1e-4
        assert each.accuracy[FP32] == each.accuracy[ORT_FP32] > 0.85
        assert each.accuracy[INT8] == pytest.approx(each.accuracy[FP32], abs=0.05)


def test_every_contender_is_timed(contest):
    for each in contest:
        assert set(each.times) == {FP32, INT8, ORT_FP32, ORT_INT8}
        assert all(0 < one.lower_s <= one.median_s <= one.upper_s for one in each.times.values())
        assert each.ort_int8_form not in each.ort_int8_refused
