import json

import pytest

from benchmarks import build_times
from benchmarks.build import figures, report
from benchmarks.build_times import BATCH, KernelTimes, NetworkTimes, kernel_times, network_times, spread

KERNELS = KernelTimes(variants=7, requests=90, library_s=(1.6, 0.8))
SEEN = NetworkTimes("vgg16", {"exact": 1.5, "int8": 2.5})
REFUSED = NetworkTimes("resnet50", {}, "node add_1 (Add, opset 17) joins 2 branches; export a chain")


def test_a_kernel_costs_its_share_of_its_library():
    assert KERNELS.per_kernel_s == pytest.approx(2.4 / 32)


def test_the_last_line_has_the_slowest_of_each_network_and_null_for_those_that_cannot_be_read():
    told = json.loads(json.dumps(figures(KERNELS, [SEEN, REFUSED])))
    assert told["build_s_per_variant"] == pytest.approx(0.075)
    assert (told["variants"], told["requests"]) == (7, 90)
    assert (told["vgg16_s"], told["resnet50_s"]) == (2.5, None)
    assert told["networks"] == {"vgg16": {"exact": 1.5, "int8": 2.5}, "resnet50": {}}
    assert told["refused"] == {"resnet50": REFUSED.refused}


def test_people_read_why_a_network_is_left_out(capsys):
    report(KERNELS, [SEEN, REFUSED])
    out = capsys.readouterr().out
    assert f"resnet50 is left out: {REFUSED.refused}" in out
    assert "vgg16 is left out" not in out
    assert next(line for line in out.splitlines() if line.startswith("vgg16 int8")).endswith("2.500")


def test_a_sample_is_spread_over_all_kernels_and_holds_none_twice():
    requests = list(range(1000))
    batches = spread(requests, 4)
    assert [len(each) for each in batches] == [BATCH] * 4
    assert len({each for batch in batches for each in batch}) == 4 * BATCH
    assert all(batch[0] < 100 and batch[-1] > 900 for batch in batches)
    with pytest.raises(ValueError, match="1000 kernels do not fill 63 libraries of 16"):
        spread(requests, 63)


def test_kernels_and_networks_are_really_built():
    kernels = kernel_times("cifar10_quick", 1)
    assert kernels.requests > kernels.variants > 100
    assert len(kernels.library_s) == 1
    assert kernels.per_kernel_s > 0
    network = network_times("cifar10_quick", 1)
    assert set(network.seconds) == {"exact", "int8"}
    assert network.slowest_s == max(network.seconds.values()) > 0
    assert network.refused == ""


def test_what_cannot_be_read_is_a_reason_and_no_crash(monkeypatch, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    monkeypatch.setattr(build_times, "model_path", lambda name, folder: broken)
    refused = network_times("resnet50", 1)
    assert refused.slowest_s is None
    assert "broken.onnx is not a valid ONNX file" in refused.refused
