"""What is evaluated of single layers, and what is told of the rest."""

from math import exp

import pytest

from cost_model.accuracy import AccuracyModel
from cost_model.felt import EXACT, Pair, Trait, anchors, predicted
from cost_model.measurement import Evaluation, configuration_key

LAYERS = ("a", "b")
STRUCTURES = tuple(f"m({n})" for n in range(8))
TRAITS: dict[Pair, Trait] = {
    (layer, name): trait
    for layer in LAYERS
    for name, trait in {
        "int8": Trait("int8", EXACT, 0.0),
        **{each: Trait(EXACT, each, 10.0**-at) for at, each in enumerate(STRUCTURES)},
        **{f"int8+{each}": Trait("int8", each, 10.0**-at) for at, each in enumerate(STRUCTURES)},
    }.items()
}
TRUTH = {
    pair: (3.0 if pair[0] == "a" else 0.2) * trait.felt + (0.001 if trait.number_format == "int8" else 0.0)
    for pair, trait in TRAITS.items()
}


def evaluated(most: int) -> dict[Pair, float]:
    return {
        (layer, name): TRUTH[layer, name] for layer, names in anchors(TRAITS, most).items() for name in names
    }


@pytest.mark.parametrize("most", [4, 10, 18])
def test_no_more_is_evaluated_than_that_and_formats_always_are(most: int) -> None:
    chosen = evaluated(most)
    assert len(chosen) <= most
    assert all((layer, "int8") in chosen for layer in LAYERS)
    assert all(any(pair[0] == layer and pair[1] in STRUCTURES for pair in chosen) for layer in LAYERS)


def test_with_enough_evaluations_everything_is_evaluated() -> None:
    assert evaluated(len(TRAITS)).keys() == TRAITS.keys()


@pytest.mark.parametrize("most", [4, 10])
def test_where_divergence_follows_what_is_felt_it_is_told_exactly(most: int) -> None:
    known = evaluated(most)
    told = predicted(TRAITS, known)
    assert told.keys() == TRAITS.keys() - known.keys()
    for pair, divergence in told.items():
        assert divergence == pytest.approx(TRUTH[pair], rel=1e-6)


def test_what_is_felt_more_never_diverges_less() -> None:
    noisy = {("a", each): TRUTH["a", each] * exp((-1) ** at) for at, each in enumerate(STRUCTURES[::3])}
    told = {**predicted(TRAITS, {**noisy, ("a", "int8"): 0.0}), **noisy}
    unseen = [told["a", each] for at, each in enumerate(STRUCTURES) if at % 3]
    assert unseen == sorted(unseen, reverse=True)


def test_nothing_is_told_of_a_layer_without_anchors() -> None:
    told = predicted(TRAITS, {("a", "int8"): 0.1, ("a", "m(3)"): 0.2})
    assert {layer for layer, _ in told} == {"a"}


def test_the_accuracy_model_covers_what_it_can_tell() -> None:
    def evaluation(variants: dict[str, str], divergence: float) -> Evaluation:
        return Evaluation("n", "s", configuration_key(variants), "v", 1000, 900, divergence)

    alone = [evaluation({layer: name}, each) for (layer, name), each in evaluated(4).items()]
    model = AccuracyModel.fit([evaluation({}, 0.0), *alone], TRAITS)
    unseen = {"a": "int8+m(0)", "b": "m(7)"}
    assert model.covers(unseen)
    assert model.divergence(unseen) == pytest.approx(TRUTH["a", "int8+m(0)"] + TRUTH["b", "m(7)"])
