"""The latency model on devices of which every law is known: what it must find is what they were made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import ceil, exp
from pathlib import Path

import numpy as np
import pytest

from cost_model.errors import CostModelError
from cost_model.features import Sample, matrix
from cost_model.fingerprint import Fingerprint
from cost_model.held_out import draw, select_held_out
from cost_model.latency import LatencyModel, holdout_error
from cost_model.roofline import Roofline
from network.variants import Work

DEVICES = {"fast": Roofline(1e11, 4e11, 2e10, 2e10, 1e-6), "slow": Roofline(2e10, 4e10, 4e9, 4e9, 5e-6)}
FINGERPRINTS = {"fast": Fingerprint(100, 400, 20, 1e-6), "slow": Fingerprint(20, 40, 4, 5e-6)}
LANES = {"fast": 16, "slow": 4}


def conv(device_class: str, shape: tuple[int, int, int, int], integer: bool, width: int) -> Sample:
    size, read, written, window = shape
    element = 1 if integer else 4
    parameters = read * written * window**2
    unmeasured = Sample(
        kernel=f"conv {size} {read} {written} {window} {integer} tile {width}",
        device_class=device_class,
        operator="conv2d",
        work=Work(
            macs=parameters * size**2,
            elementwise=size**2 * written,
            input_bytes=size**2 * read * element,
            output_bytes=size**2 * written * element,
            parameter_bytes=parameters * element,
            workspace_bytes=0,
        ),
        integer=integer,
        tile=(width, 2),
        input_shape=(size, size, read),
        output_shape=(size, size, written),
        window=(window, window),
        stride=(1, 1),
        lanes=LANES[device_class],
        group=4,
    )
    return replace(unmeasured, seconds=measured_s(unmeasured))


def measured_s(sample: Sample) -> float:
    """The roofline, a tile that wastes work where it does not divide the width, and 3 % of noise."""
    roofline_s = float(DEVICES[sample.device_class].predict_s([sample])[0])
    width = sample.output_shape[1]
    waste = ceil(width / sample.tile[0]) * sample.tile[0] / width
    noise = 0.06 * (draw(sample.kernel, 0, f"noise {sample.device_class}") - 0.5)
    return roofline_s * float(waste**0.7) * exp(noise)


def samples(device_classes: tuple[str, ...] = ("fast", "slow"), share: float = 0.25) -> list[Sample]:
    shapes = product((6, 8, 16, 28), (16, 64, 128), (16, 64), (1, 3))
    everything = [conv(*each) for each in product(device_classes, shapes, (False, True), (4, 8, 16))]
    return [each for each in everything if draw(each.kernel, 0, "measured") < share]


def test_unseen_kernels_are_predicted_far_better_than_the_roofline_does() -> None:
    known = samples()
    error = holdout_error(known, share=0.3, seed=1)
    roofline = [
        abs(float(DEVICES[each.device_class].predict_s([each])[0]) / (each.seconds or 1) - 1)
        for each in known
    ]
    assert error.count > 20
    assert error.median < 0.07
    assert error.mean < 0.5 * float(np.mean(roofline))


def test_the_bound_holds_about_nine_times_of_ten_on_unseen_kernels() -> None:
    errors = [holdout_error(samples(), share=0.3, seed=seed) for seed in range(4)]
    covered = sum(each.coverage * each.count for each in errors) / sum(each.count for each in errors)
    assert covered > 0.85
    known = samples()
    model = LatencyModel.fit([each for each in known if draw(each.kernel, 3, "seen") < 0.8])
    predicted, bounds = model.predict_with_bounds_s(known)
    assert ((bounds >= predicted) & (bounds < 1.5 * predicted)).all()


def test_the_error_can_be_asked_for_after_kernels_were_left_to_prediction() -> None:
    known = samples()
    left_out = select_held_out({each.kernel for each in known}, share=0.3, seed=0)
    measured = [each for each in known if each.kernel not in left_out]
    assert 0.15 < holdout_error(measured, share=0.3, seed=0).count / len(measured) < 0.45


def test_disturbed_measurements_that_weigh_little_spoil_little() -> None:
    known = samples(share=0.5)
    disturbed = [
        replace(each, seconds=2 * (each.seconds or 0), weight=0.05)
        if draw(each.kernel, 5, "disturbed") < 0.2
        else each
        for each in known
    ]
    truth = np.array([each.seconds for each in known])

    def error(given: list[Sample]) -> float:
        return float(np.mean(np.abs(LatencyModel.fit(given).predict_s(known) / truth - 1)))

    believed = [replace(each, weight=1.0) for each in disturbed]
    assert error(disturbed) < 0.7 * error(believed)


def test_marks_that_all_measurements_bear_change_nothing() -> None:
    known = samples()
    marked = LatencyModel.fit([replace(each, weight=0.25) for each in known])
    assert np.array_equal(marked.predict_s(known), LatencyModel.fit(known).predict_s(known))


def test_peak_rates_are_found() -> None:
    fitted = LatencyModel.fit(samples(share=0.5)).rooflines
    for name, true in DEVICES.items():
        assert fitted[name].float_peak == pytest.approx(true.float_peak, rel=0.35)
        assert fitted[name].integer_peak == pytest.approx(true.integer_peak, rel=0.35)
        assert fitted[name].cache_bandwidth == pytest.approx(true.cache_bandwidth, rel=0.5)


def test_one_class_teaches_another() -> None:
    few = [each for each in samples(share=0.8) if each.device_class == "slow"]
    unseen, seen = few[:40], few[40:52]
    others = [each for each in samples(share=0.8) if each.device_class == "fast"]
    truth = np.array([each.seconds for each in unseen])
    alone = np.abs(LatencyModel.fit(seen).predict_s(unseen) / truth - 1)
    together = np.abs(LatencyModel.fit([*seen, *others]).predict_s(unseen) / truth - 1)
    assert together.mean() < alone.mean()


def test_the_same_measurements_give_the_same_model() -> None:
    known = samples()
    one, other = LatencyModel.fit(known), LatencyModel.fit(known)
    assert np.array_equal(one.predict_s(known), other.predict_s(known))
    assert np.array_equal(one.bounds_s(known), other.bounds_s(known))


@pytest.mark.parametrize(("share", "trees"), [(0.25, True), (0.02, False)])
def test_a_model_is_the_same_after_it_was_saved(tmp_path: Path, share: float, trees: bool) -> None:
    model = LatencyModel.fit(samples(share=share), FINGERPRINTS)
    assert bool(model.residual.boosters) == trees
    model.save(tmp_path / "latency.json")
    loaded = LatencyModel.load(tmp_path / "latency.json")
    assert np.array_equal(loaded.predict_s(samples()), model.predict_s(samples()))
    assert np.array_equal(loaded.bounds_s(samples()), model.bounds_s(samples()))
    assert (loaded.version, loaded.seen) == (model.version, model.seen)


def test_the_version_is_that_of_the_measurements() -> None:
    known = samples()
    version = LatencyModel.fit(known).version
    assert version == LatencyModel.fit(list(known)).version
    slower = replace(known[0], seconds=1.01 * (known[0].seconds or 0))
    assert version != LatencyModel.fit([slower, *known[1:]]).version
    assert version != LatencyModel.fit(known, FINGERPRINTS).version


def test_a_model_is_outdated_when_the_measurements_have_grown_or_drifted() -> None:
    known = samples(share=0.5)
    first, fresh = known[:-24], known[-12:]
    model = LatencyModel.fit(first)
    assert not model.outdated(first)
    assert not model.outdated([*first, *fresh])
    assert model.outdated([*first, *(replace(each, seconds=2 * (each.seconds or 0)) for each in fresh)])
    assert LatencyModel.fit(known[:40]).outdated(known)
    fast = [each for each in known if each.device_class == "fast"]
    assert LatencyModel.fit(fast).outdated([*fast, *known[-1:]])


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"format": 99}', '{"format": 2, "samples": [], "logs": []}', "\x80\x04K\x01."],
)
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "latency.json"
    path.write_text(content)
    with pytest.raises(CostModelError, match=r"latency\.json is no latency model"):
        LatencyModel.load(path)


def test_a_fingerprint_is_enough_for_the_right_order_of_magnitude() -> None:
    known = samples()
    fast = [each for each in known if each.device_class == "fast"]
    slow = [each for each in known if each.device_class == "slow"]
    model = LatencyModel.fit(fast, FINGERPRINTS)
    ratios = model.predict_s(slow) / np.array([each.seconds for each in slow])
    assert 0.5 < float(np.median(ratios)) < 2
    assert (model.bounds_s(slow) >= model.predict_s(slow)).all()


def test_a_few_measurements_are_enough_for_the_right_order_of_magnitude() -> None:
    few = samples(("fast",), share=0.03)
    assert 2 <= len(few) < 20
    model = LatencyModel.fit(few)
    others = samples(("fast",))
    ratios = model.predict_s(others) / np.array([each.seconds for each in others])
    assert 0.4 < float(np.median(ratios)) < 2.5


def test_a_single_measurement_is_reproduced() -> None:
    (one, *_) = samples(("fast",))
    model = LatencyModel.fit([one])
    assert model.predict_s([one])[0] == pytest.approx(one.seconds, rel=0.01)
    assert model.bounds_s([one])[0] >= one.seconds * 0.99


def test_nothing_to_learn_from_and_unknown_classes_are_named() -> None:
    with pytest.raises(CostModelError, match="no measured kernels"):
        LatencyModel.fit([])
    with pytest.raises(CostModelError, match="has None seconds"):
        LatencyModel.fit([replace(samples()[0], seconds=None)])
    model = LatencyModel.fit(samples(("fast",)))
    with pytest.raises(CostModelError, match="class slow, only on fast"):
        model.predict_s(samples(("slow",)))
    with pytest.raises(CostModelError, match="class slow"):
        model.bounds_s(samples(("slow",)))
    assert model.predict_s([]).shape == (0,)


def test_columns_have_the_same_names_for_every_operator() -> None:
    known = samples()[:2]
    pool = replace(
        known[0], operator="max_pool", work=replace(known[0].work, macs=0, parameter_bytes=0), tile=()
    )
    names, rows = matrix([*known, pool], ("conv2d", "dense"))
    assert rows.shape == (3, len(names))
    assert np.isfinite(rows).all()
    named = dict(zip(names, rows.T, strict=True))
    assert named["operator=conv2d"].tolist() == [1, 1, 0]
    assert named["operator=dense"].tolist() == [0, 0, 0]
    assert named["tile_rows"].tolist() == [known[0].tile[0], known[1].tile[0], 1]


def test_what_is_held_out_depends_on_the_key_alone() -> None:
    keys = [f"kernel {index}" for index in range(2000)]
    held_out = select_held_out(keys, 0.3, seed=0)
    assert len(held_out) == pytest.approx(600, rel=0.1)
    assert held_out == select_held_out(reversed(keys), 0.3, seed=0)
    assert select_held_out(keys[:100], 0.3, seed=0) == held_out & set(keys[:100])
    assert held_out < select_held_out(keys, 0.5, seed=0)
    assert held_out != select_held_out(keys, 0.3, seed=1)
    assert select_held_out(keys, 0.0, seed=0) == frozenset()
    assert select_held_out(keys, 1.0, seed=0) == set(keys)
