from dataclasses import replace

import numpy as np
import pytest

from benchmarks.prediction_facts import Facts, PlannedConfiguration, read_facts, write_facts
from benchmarks.prediction_kernels import FOLDS, fold_of, leave_out, left_out, new_class_correlation
from benchmarks.prediction_networks import PredictedNetwork, shares
from benchmarks.prediction_rivals import linear, look_up
from cost_model.features import Sample
from network.variants import Work
from workers.sources import kernel_versions


def sample(device_class: str, channels: int, size: int, tile: int = 4) -> Sample:
    macs = 9 * size * size * channels * channels
    map_bytes = 4 * size**2 * channels
    slower = {"fast": 1.0, "slow": 5.0}[device_class]
    return Sample(
        kernel=f"conv {size} {channels} tile{tile}",
        device_class=device_class,
        operator="conv2d",
        work=Work(macs, size * size * channels, map_bytes, map_bytes, 36 * channels**2, 0),
        integer=False,
        tile=(1, tile, 1),
        input_shape=(size, size, channels),
        output_shape=(size, size, channels),
        window=(3, 3),
        stride=(1, 1),
        lanes=8,
        group=4,
        seconds=slower * (2 * macs / 5e10 + 1e-6) * (1 + 0.1 / tile),
    )


SAMPLES = [
    sample(name, channels, size, tile)
    for name in ("fast", "slow")
    for channels in (8, 16, 24, 32, 48, 64)
    for size in (4, 8, 16, 32)
    for tile in (2, 4)
]


def test_all_tiles_of_a_kernel_are_left_out_together_and_each_kernel_once():
    folds = {each.kernel.rpartition(" tile")[0] + each.device_class: set() for each in SAMPLES}
    for each in SAMPLES:
        folds[each.kernel.rpartition(" tile")[0] + each.device_class].add(fold_of(each))
    assert {len(each) for each in folds.values()} == {1}
    assert sum(len(left_out(SAMPLES, fold)) for fold in range(FOLDS)) == len(SAMPLES)


def test_what_was_measured_badly_is_no_test():
    doubtful = replace(SAMPLES[0], weight=0.1)
    assert doubtful not in left_out([doubtful, *SAMPLES[1:]], fold_of(doubtful))


def test_the_model_is_right_about_kernels_that_it_never_saw():
    found = leave_out(SAMPLES, {}, range(2))
    assert 0 < len(found.samples) < len(SAMPLES)
    assert np.median(found.errors) < 0.1
    assert len(found.of("slow").samples) + len(found.of("fast").samples) == len(found.samples)


def test_ten_measurements_rank_a_new_class():
    assert new_class_correlation(SAMPLES, {}, "slow", seed=0) > 0.95


def test_rivals_see_the_same_measurements():
    known, unseen = SAMPLES[:-8], SAMPLES[-8:]
    measured = np.array([each.seconds for each in unseen])
    assert np.abs(linear(known, unseen) / measured - 1).max() < 0.2
    assert look_up(known, [known[5]]) == pytest.approx([known[5].seconds])


def test_facts_come_back_as_long_as_kernels_are_the_same(tmp_path):
    planned = PlannedConfiguration("key", ("conv tile4",), ("conv1",), 10, 7)
    facts = Facts("net", "fast", "target", kernel_versions(), "sha", (SAMPLES[0],), (planned,))
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path, "net", "fast") == facts
    assert read_facts(tmp_path, "net", "slow") is None
    write_facts(tmp_path, replace(facts, versions="others"))
    assert read_facts(tmp_path, "net", "fast") is None


def test_errors_of_networks_are_relative():
    network = PredictedNetwork("net", "fast", 1e-3, 1.1e-3, 0.8e-3, 1000, 950)
    assert (network.latency_error, network.sum_error, network.memory_error) == pytest.approx((0.1, 0.2, 0.05))
    assert shares([0.05, 0.1, 0.3], 0.1) == pytest.approx(2 / 3)
