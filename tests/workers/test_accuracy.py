"""Effects of approximations, on the compiled kernels of a small network."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr, softmax

from network.variants import Fitted
from tests.small_network import Small
from workers.accuracy import (
    Bench,
    Effect,
    divergence,
    effect,
    evaluate_configuration,
    evaluate_layer,
    exact_answers,
)


def fitted(bench: Bench, keys: list[str]) -> dict[str, Fitted]:
    layers = zip(bench.network.layers, keys, strict=True)
    return {layer.name: bench.known.fitted(bench.known.variant(layer.name, key)) for layer, key in layers}


def jointly(bench: Bench, keys: list[str]) -> Effect:
    exact = exact_answers(bench, bench.samples.inputs, ())
    return evaluate_configuration(bench, fitted(bench, keys), exact, ())


logits = arrays(np.float32, (5, 4), elements=st.floats(-50, 50, width=32))


@given(logits, logits)
def test_the_divergence_is_that_of_the_softmax(exact, changed):
    p, q = (softmax(each.astype(np.float64), axis=1) for each in (exact, changed))
    assert divergence((exact,), (changed,)) == pytest.approx(rel_entr(p, q).sum(axis=1).mean(), abs=1e-9)
    assert divergence((exact,), (changed,)) >= 0
    assert divergence((exact,), (exact,)) == 0


@given(logits, logits, arrays(np.float32, (5, 1), elements=st.floats(-8, 8, width=32)))
def test_what_is_added_to_all_logits_of_a_sample_is_no_divergence(exact, changed, shift):
    assert divergence((exact,), (changed + shift,)) == pytest.approx(
        divergence((exact,), (changed,)), abs=1e-3
    )


def test_huge_logits_do_not_overflow():
    huge = np.array([[3e4, -3e4]], np.float32)
    assert divergence((huge,), (-huge,)) == pytest.approx(6e4)


def test_an_effect_counts_right_answers():
    answers = np.eye(4, dtype=np.float32)[[0, 1, 2, 2]]
    found = effect((answers,), (np.eye(4, dtype=np.float32),), {0: np.arange(4)})
    assert (found.correct, found.count) == (3, 4)
    assert found.divergence > 0


def test_the_exact_network_answers_like_onnx_runtime(small: Small, bench: Bench):
    session = onnxruntime.InferenceSession(small.path)
    expected = [session.run(None, {"in": each[np.newaxis]})[0][0] for each in small.samples.x]
    np.testing.assert_allclose(
        exact_answers(bench, small.samples.inputs, ())[0], expected, rtol=1e-4, atol=1e-4
    )


def test_the_exact_configuration_has_no_effect(small: Small, bench: Bench):
    keys = ["exact f32>f32"] * len(small.network.layers)
    found = jointly(bench, keys)
    answers = exact_answers(bench, small.samples.inputs, ())[0].argmax(axis=1)
    assert found.divergence < 1e-9
    assert found.correct == (answers == small.samples.y).sum()
    assert found.count == len(small.samples)


@pytest.mark.parametrize(
    ("layer", "changed"),
    [
        ("conv2", {"conv1": "exact f32>f32/4", "conv2": "channels(1/2) f32/4>f32"}),
        (
            "dense1",
            {
                "conv2": "exact f32>f32/4",
                "pool1": "exact f32/4>f32/4",
                "dense1": "channels(1/2) f32/4>f32",
            },
        ),
    ],
)
def test_a_layer_alone_is_the_configuration_with_one_change(
    small: Small, bench: Bench, layer: str, changed: dict[str, str]
):
    """The layers ahead leave out what it does not read, which changes nothing."""
    alone = evaluate_layer(bench, layer, ["exact", "channels(1/2)"], ())
    keys = [changed.get(each.name, "exact f32>f32") for each in small.network.layers]
    together = jointly(bench, keys)
    assert list(alone.effects) == ["channels(1/2)"]
    assert alone.exact.divergence == 0
    found = alone.effects["channels(1/2)"]
    assert found.divergence == pytest.approx(together.divergence, rel=1e-4)
    assert (found.correct, found.count) == (together.correct, together.count)
    assert found.divergence > 1e-4


def test_an_integer_layer_alone_is_fed_as_in_a_configuration(small: Small, bench: Bench):
    alone = evaluate_layer(bench, "conv2", ["int8"], ()).effects["int8"]
    changed = {"conv1": "exact f32>u8", "conv2": "int8 u8>f32"}
    keys = [changed.get(each.name, "exact f32>f32") for each in small.network.layers]
    together = jointly(bench, keys)
    assert alone.divergence == pytest.approx(together.divergence, rel=0.01)
    assert 0 < alone.divergence < 0.05


@pytest.mark.parametrize("layer", ["input", "pool1"])
def test_layers_without_weights_can_be_integers_alone(bench: Bench, layer: str):
    found = evaluate_layer(bench, layer, ["int8"], ()).effects["int8"]
    assert 0 < found.divergence < 0.05


def test_all_layers_are_evaluated_in_all_their_approximations(small: Small, bench: Bench):
    for layer, variants in small.known.variants.items():
        names = {each.approximation for each in variants}
        assert set(evaluate_layer(bench, layer, sorted(names), ()).effects) == names - {"exact"}


def test_a_whole_integer_network_stays_near(small: Small, bench: Bench):
    keys = ["int8 f32>u8", "int8 u8>u8", "int8 u8>u8", "int8 u8>u8", "int8 u8>f32"]
    found = jointly(bench, keys)
    exact = evaluate_layer(bench, "input", [], ()).exact
    assert 0 < found.divergence < 0.1
    assert abs(found.correct - exact.correct) <= 4
