import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import approximations
from benchmarks.approximations_report import FASTEST, Contest, NetworkResult, lines, to_dict
from benchmarks.engine_report import FP32, ORT_FP32, ORT_INT8
from benchmarks.interleave import Quartiles
from benchmarks.networks import SHIPPED
from cluster.embedded import local_classes
from network.onnx_import import load
from runtime.configuration import Certificate
from runtime.records import from_plain, to_plain

QDQ, QOPERATOR = f"{ORT_INT8}, QDQ", f"{ORT_INT8}, QOperator"
SECONDS = {FASTEST: 1e-4, FP32: 3e-4, ORT_FP32: 4e-4, QDQ: 2.5e-4, f"{QDQ}, average pools in float32": 2e-4}


@pytest.fixture
def contest() -> Contest:
    times = {name: Quartiles(0.9 * each, each, 1.2 * each) for name, each in SECONDS.items()}
    return Contest(times, dict.fromkeys(SECONDS, 0.91) | {QOPERATOR: 0.25}, 400, 0.15)


def certificate(memory: float = 0.5, storage: float = 0.5, loss_pp: float = 0.5) -> Certificate:
    """Shares of the exact configuration's peak memory and storage."""
    return Certificate(
        verdict="holds",
        device="x86-64-v4.local",
        runs=1000,
        percentile=95,
        confidence=0.95,
        latency_s=1e-4,
        median_s=1e-4,
        exact_latency_s=3e-4,
        exact_median_s=3e-4,
        peak_bytes=round(1000 * memory),
        exact_peak_bytes=1000,
        storage_bytes=round(1000 * storage),
        exact_storage_bytes=1000,
        accuracy=0.92 - loss_pp / 100,
        exact_accuracy=0.92,
        loss_pp=loss_pp,
        samples=10_000,
        rounds=1,
        issued="2026-01-01",
        versions={},
    )


def result(contest: Contest, memory: float = 0.2, storage: float = 0.3) -> NetworkResult:
    certificates = {
        "latency": certificate(loss_pp=0.9),
        "memory": certificate(memory=memory, loss_pp=0.4),
        "storage": certificate(storage=storage),
    }
    return NetworkResult("tiny", certificates, contest)


def refused(contest: Contest) -> NetworkResult:
    """Its fastest configuration was never certified to keep the bound."""
    whole = result(contest)
    latency = replace(whole.certificates["latency"], verdict="violated", loss_pp=1.2)
    return replace(whole, certificates={**whole.certificates, "latency": latency})


def test_a_speed_up_is_over_the_fastest_form_of_the_rival(contest):
    assert contest.ort_int8 == f"{QDQ}, average pools in float32"
    figures = result(contest).figures
    assert figures["speedup_at_1pp_vs_ort_fp32"] == pytest.approx(4)
    assert figures["speedup_at_1pp_vs_ort_int8"] == pytest.approx(2)


def test_memory_and_storage_are_those_of_the_smallest_as_shares_of_exact(contest):
    figures = result(contest, memory=0.2, storage=0.3).figures
    assert (figures["memory_at_1pp"], figures["storage_at_1pp"]) == pytest.approx((0.2, 0.3))


def test_the_last_line_has_geometric_means_and_everything_a_network_showed(contest):
    results = [result(contest, memory=0.1, storage=0.9), replace(result(contest, 0.4, 0.1), network="other")]
    told = json.loads(json.dumps(to_dict(results, "some processor", {"numpy": "2"})))
    assert (told["memory_at_1pp"], told["storage_at_1pp"]) == pytest.approx((0.2, 0.3))
    assert told["speedup_at_1pp_vs_ort_fp32"] == pytest.approx(4)
    assert told["max_loss_pp"] == 0.9
    assert told["networks"]["tiny"]["loss_pp"] == {"latency": 0.9, "memory": 0.4, "storage": 0.5}
    assert told["networks"]["other"]["ms"][ORT_FP32] == pytest.approx([0.36, 0.4, 0.48])
    assert (told["benchmark"], told["cpu"]) == ("approximations", "some processor")


def test_a_configuration_that_loses_too_much_gives_no_figure(contest):
    assert refused(contest).broken == ("latency",)
    told = to_dict([result(contest), refused(contest)], "some processor", {})
    assert told["speedup_at_1pp_vs_ort_fp32"] is None
    assert told["speedup_at_1pp_vs_ort_int8"] is None
    assert told["memory_at_1pp"] == pytest.approx(0.2)
    assert told["max_loss_pp"] == 1.2


def test_the_table_names_everybody_and_who_was_left_out(contest):
    table = lines(result(contest))
    assert all(any(line.startswith(name) for line in table) for name in SECONDS)
    assert next(line for line in table if line.startswith(ORT_FP32)).endswith("4.00x")
    assert f"{QOPERATOR} answers 25.00% right, and is left out" in table


def test_there_is_a_job_for_each_objective_on_the_best_level():
    jobs = approximations.jobs_of("vgg16")
    assert {name: str(each.goal) for name, each in jobs.items()} == {
        name: f"least {name}, loss=1pp" for name in ("latency", "memory", "storage")
    }
    assert {each.device_class for each in jobs.values()} == {local_classes()[-1]}
    assert len({each.name for each in jobs.values()}) == 3


def test_without_onnx_runtime_it_says_what_to_install(monkeypatch, capsys, tmp_path: Path):
    monkeypatch.setattr(approximations, "find_spec", lambda name: None)
    assert approximations.main(["--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "onnxruntime is not installed; run `pip install 'blinknet[bench]'`\n")


def test_a_job_that_hands_nothing_over_is_told(monkeypatch, capsys, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="the rival is not installed: pip install 'blinknet[bench]'")
    monkeypatch.setattr(approximations, "solve", lambda jobs, out, screen: None)
    assert approximations.main(["--out", str(tmp_path)]) == 2
    assert "cifar10_quick-latency handed nothing over; run the same command again" in capsys.readouterr().err


def test_a_bundle_meets_its_rivals(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="the rival is not installed: pip install 'blinknet[bench]'")
    from benchmarks.bundle_contest import compete
    from benchmarks.contest import Effort
    from benchmarks.engine_data import data_of
    from benchmarks.our_engine import Workshop

    network = load(SHIPPED["cifar10_quick"])
    data = data_of("cifar10_quick", network, SHIPPED["cifar10_quick"], 64, 1)
    ours = Workshop.of(network, data.calibration).engines(1, tmp_path)
    bundles = [ours[name].session.bundle.folder for name in ("int8", "exact")]
    found = compete("cifar10_quick", *bundles, Effort(seconds=0.1, calibration=64, evaluation=200))
    assert found.accuracy[FP32] == found.accuracy[ORT_FP32] > 0.85
    assert {FASTEST, FP32, ORT_FP32, found.ort_int8} <= found.times.keys() <= found.accuracy.keys()
    assert all(share < found.accuracy[ORT_FP32] - 0.01 for share in found.left_out.values())
    assert from_plain(Contest, json.loads(json.dumps(to_plain(found))), "the contest") == found
