from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cost_model.accuracy import AccuracyModel, approximation_of
from cost_model.errors import CostModelError
from cost_model.loss_curve import LossCurve, Point
from cost_model.measurement import Evaluation, configuration_key

LAYERS = ("conv1", "conv2", "conv3")
COUNT = 10_000
EXACT_CORRECT = 9109


def evaluation(variants: dict[str, str], divergence: float, loss_pp: float) -> Evaluation:
    whole = dict.fromkeys(LAYERS, "exact f32>f32") | variants
    correct = EXACT_CORRECT - round(loss_pp * COUNT / 100)
    return Evaluation("network", "samples", configuration_key(whole), "versions", COUNT, correct, divergence)


def loss_of(divergence: float) -> float:
    return 12.0 * float(divergence**0.8)


EXACT = evaluation({}, 0.0, 0.0)
ALONE = {
    ("conv1", "lowrank(1/2)"): 0.002,
    ("conv2", "lowrank(1/2)"): 0.010,
    ("conv3", "lowrank(1/2)"): 0.015,
    ("conv1", "perforate(rows=2, cols=2)"): 0.030,
    ("conv2", "perforate(rows=2, cols=2)"): 0.060,
    ("conv3", "perforate(rows=2, cols=2)"): 0.150,
}
SINGLES = [
    evaluation({layer: f"{name} f32>f32"}, divergence, loss_of(divergence))
    for (layer, name), divergence in ALONE.items()
]


def joint(first: str, second: str, third: str) -> dict[str, str]:
    return {
        layer: f"{name} f32>f32" for layer, name in zip(LAYERS, (first, second, third), strict=True) if name
    }


def test_divergences_of_single_layers_add_up_whatever_the_element_types() -> None:
    model = AccuracyModel.fit([EXACT, *SINGLES])
    assert model.divergence(joint("lowrank(1/2)", "", "")) == 0.002
    mixed = {
        "conv1": "exact f32>u8",
        "conv2": "lowrank(1/2) u8>u8",
        "conv3": "perforate(rows=2, cols=2) u8>f32",
    }
    assert model.divergence(mixed) == pytest.approx(0.160)
    assert model.divergence({}) == 0


def test_the_law_behind_the_evaluations_is_found() -> None:
    model = AccuracyModel.fit([EXACT, *SINGLES])
    unseen = joint("lowrank(1/2)", "perforate(rows=2, cols=2)", "lowrank(1/2)")
    assert model.predict_loss_pp(unseen) == pytest.approx(loss_of(0.077), rel=0.1)


def test_a_known_joint_configuration_is_answered_as_evaluated() -> None:
    known = joint("lowrank(1/2)", "lowrank(1/2)", "lowrank(1/2)")
    model = AccuracyModel.fit([EXACT, *SINGLES, evaluation(known, 0.03, 0.45)])
    assert model.predict_loss_pp(dict.fromkeys(LAYERS, "exact f32>f32") | known) == pytest.approx(0.45)


def test_joint_evaluations_correct_what_single_layers_promise() -> None:
    # As measured: layers that lose little alone lose far more together.
    worse = [
        evaluation(joint("lowrank(1/2)", "lowrank(1/2)", "lowrank(1/2)"), 0.05, 3 * loss_of(0.027)),
        evaluation(joint("perforate(rows=2, cols=2)", "", "lowrank(1/2)"), 0.08, 3 * loss_of(0.045)),
    ]
    unseen = joint("perforate(rows=2, cols=2)", "lowrank(1/2)", "")
    before = AccuracyModel.fit([EXACT, *SINGLES]).predict_loss_pp(unseen)
    after = AccuracyModel.fit([EXACT, *SINGLES, *worse]).predict_loss_pp(unseen)
    assert after > 1.3 * before


def test_the_exact_configuration_is_the_reference() -> None:
    with pytest.raises(CostModelError, match="evaluate it first"):
        AccuracyModel.fit(SINGLES)
    assert AccuracyModel.fit([EXACT]).predict_loss_pp(dict.fromkeys(LAYERS, "exact f32>f32")) == 0


def test_an_approximation_never_evaluated_alone_is_named() -> None:
    model = AccuracyModel.fit([EXACT, *SINGLES])
    with pytest.raises(CostModelError, match=r"channels\(1/2\) of layer conv2"):
        model.predict_loss_pp({"conv2": "channels(1/2) f32>f32"})


def test_the_solvers_bound_is_where_the_loss_begins_to_exceed() -> None:
    model = AccuracyModel.fit([EXACT, *SINGLES])
    for loss_pp in (0.05, 0.3, 1.0, 2.5, 8.0):
        bound = model.divergence_for(loss_pp)
        assert model.curve.loss_pp(bound) == pytest.approx(loss_pp)
        assert model.curve.loss_pp(bound * 1.01) > loss_pp
    assert model.divergence_for(0.0) == 0.0
    assert model.divergence_for(-0.1) == 0.0


@pytest.mark.parametrize(
    ("variant", "approximation"),
    [
        ("exact f32>u8", "exact"),
        ("exact", "exact"),
        ("perforate(rows=2, cols=2) u8>f32", "perforate(rows=2, cols=2)"),
        ("perforate(rows=2, cols=2)", "perforate(rows=2, cols=2)"),
    ],
)
def test_an_approximation_is_a_variant_without_its_types(variant: str, approximation: str) -> None:
    assert approximation_of(variant) == approximation


points = st.lists(
    st.builds(
        Point,
        divergence=st.floats(1e-6, 10),
        loss_pp=st.floats(-2, 60),
        count=st.integers(100, 100_000),
        joint=st.booleans(),
    ),
    max_size=15,
)


@settings(max_examples=200)
@given(evaluated=points, pair=st.tuples(st.floats(0, 20), st.floats(0, 20)))
def test_more_divergence_never_loses_less(evaluated: list[Point], pair: tuple[float, float]) -> None:
    curve = LossCurve.fit(evaluated)
    less, more = sorted(pair)
    assert 0 <= curve.loss_pp(less) <= curve.loss_pp(more) * (1 + 1e-12)
    assert curve.loss_pp(0) == 0


@settings(max_examples=200)
@given(evaluated=points, loss_pp=st.floats(0.01, 50))
def test_a_divergence_within_the_bound_loses_no_more_than_asked(
    evaluated: list[Point], loss_pp: float
) -> None:
    curve = LossCurve.fit(evaluated)
    bound = curve.divergence_for(loss_pp)
    assume(bound < 1e6)
    assert curve.loss_pp(bound) <= loss_pp * (1 + 1e-6)
    assert curve.loss_pp(bound * 1.1 + 1e-9) >= loss_pp * (1 - 1e-6)


@settings(max_examples=50)
@given(
    singles=st.lists(st.tuples(st.floats(1e-4, 0.5), st.floats(-0.1, 20)), min_size=3, max_size=3),
    layer=st.sampled_from(LAYERS),
)
def test_approximating_one_more_layer_never_helps(singles: list[tuple[float, float]], layer: str) -> None:
    alone = [
        evaluation({name: "int8 f32>f32"}, *single) for name, single in zip(LAYERS, singles, strict=True)
    ]
    model = AccuracyModel.fit([EXACT, *alone])
    others = {name: "int8 f32>f32" for name in LAYERS if name != layer}
    curve, divergence = model.curve, model.divergence
    assert curve.loss_pp(divergence(others)) <= curve.loss_pp(divergence({**others, layer: "int8"})) * (
        1 + 1e-12
    )


def test_noise_alone_is_no_loss_of_a_percent() -> None:
    # A hundred samples cannot tell 1 % from nothing: the law behind the well-known points counts more.
    known = [Point(each, loss_of(each), 50_000, joint=True) for each in (0.01, 0.02, 0.04, 0.08)]
    noisy = Point(0.015, 5.0, 100, joint=True)
    assert LossCurve.fit([*known, noisy]).loss_pp(0.015) == pytest.approx(loss_of(0.015), rel=0.25)
