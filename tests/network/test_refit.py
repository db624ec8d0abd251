"""A configuration fitted in context answers more like the exact network; kernels stay what they are."""

from dataclasses import dataclass

import numpy as np
import pytest

from network.approximations import Catalogue, catalogue
from network.execute import Executor, first_tiles
from network.layers import Layer, Network
from network.refit import refit
from network.samples import Samples
from network.variants import Fitted, Variant

DEEP = 5
EXACT = "exact f32>f32"


@pytest.fixture(scope="module")
def network() -> Network:
    """Five convolutions behind each other, so that errors add up, and a dense layer."""
    random = np.random.default_rng(5)

    def weighted(co: int, kh: int, kw: int, ci: int) -> dict[str, np.ndarray]:
        weight = random.normal(size=(co, kh, kw, ci)) * np.sqrt(2 / (kh * kw * ci))
        return {"weight": weight.astype(np.float32), "bias": random.normal(0, 0.1, co).astype(np.float32)}

    layers = [Layer("input", "input", (), (8, 8, 3), (8, 8, 3))]
    window = {"kernel": (3, 3), "padding": (1, 1, 1, 1), "relu": True}
    for index in range(DEEP):
        before = layers[-1]
        shape = before.output_shape
        name, channels = f"conv{index}", shape[2]
        layers.append(
            Layer(name, "conv2d", (before.name,), shape, (8, 8, 16), **window, **weighted(16, 3, 3, channels))
        )
    dense = weighted(6, 8, 8, 16)
    layers.append(Layer("out", "dense", (layers[-1].name,), (8, 8, 16), (1, 1, 6), kernel=(8, 8), **dense))
    return Network("deep", "0" * 64, tuple(layers))


HIDDEN = [f"conv{index}" for index in range(1, DEEP)]
CONFIGURATIONS = {
    "channels": {
        "conv0": "exact f32>f32/8",
        **dict.fromkeys(HIDDEN, "channels(1/2) f32/8>f32/8"),
        "out": "channels(1/2) f32/8>f32",
    },
    "lowrank": dict.fromkeys(HIDDEN, "lowrank(1/4) f32>f32"),
    "spatial": dict.fromkeys(HIDDEN, "spatial(1/4) f32>f32"),
    "perforate": dict.fromkeys(HIDDEN, "perforate(rows=2,cols=2) f32>f32"),
    "int8": {
        "input": "int8 f32>u8",
        "conv0": "int8 u8>u8/8",
        **dict.fromkeys(HIDDEN, "int8+channels(1/2) u8/8>u8/8"),
        "out": "int8+channels(1/2) u8/8>f32",
    },
}


@dataclass(frozen=True, eq=False)
class Case:
    seen: Samples
    unseen: Samples
    known: Catalogue
    executor: Executor

    def chosen(self, keys: dict[str, str]) -> dict[str, Variant]:
        return {
            each.name: self.known.variant(each.name, keys.get(each.name, EXACT))
            for each in self.known.network.layers
        }

    def fitted(self, chosen: dict[str, Variant]) -> dict[str, Fitted]:
        return {layer: self.known.fitted(each) for layer, each in chosen.items()}

    def answers(self, network: Network, fitted: dict[str, Fitted]) -> np.ndarray:
        isa = self.executor.target.isa
        choices = {layer: first_tiles(each, isa) for layer, each in fitted.items()}
        (answers,) = self.executor.run(network, choices, self.unseen.x)
        return answers


@pytest.fixture(scope="module")
def case(network: Network) -> Case:
    random = np.random.default_rng(6)
    noise = random.normal(size=(600, 3, 10, 10))
    smooth = sum(noise[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)) / 3
    labels = np.zeros(300, np.int64)
    seen, unseen = (Samples(smooth[start::2].astype(np.float32), labels) for start in (0, 1))
    return Case(seen, unseen, catalogue(network, seen), Executor())


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_deep_configuration_comes_nearer_to_the_exact_network(network: Network, case: Case, name: str):
    exact, chosen = case.chosen({}), case.chosen(CONFIGURATIONS[name])
    configurations = [
        case.fitted(exact),
        case.fitted(chosen),
        refit(case.known, chosen, case.executor),
    ]
    wanted, *others = (case.answers(network, each) for each in configurations)
    worse, better = (float(np.square(each - wanted).mean()) for each in others)
    assert better < 0.9 * worse


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_kernels_and_their_arguments_stay(network: Network, case: Case, name: str):
    chosen = case.chosen(CONFIGURATIONS[name])
    before, after = case.fitted(chosen), refit(case.known, chosen, case.executor)
    for old, new in zip(before.values(), after.values(), strict=True):
        assert old.variant is new.variant
        assert _signature(old, case.executor) == _signature(new, case.executor)


def test_layers_ahead_of_any_approximation_stay(network: Network, case: Case):
    chosen = case.chosen({"conv1": "exact f32>f32/8", "conv2": "channels(1/2) f32/8>f32"})
    before, after = case.fitted(chosen), refit(case.known, chosen, case.executor)
    same = [layer for layer in before if _bytes(before[layer]) == _bytes(after[layer])]
    assert same == ["input", "conv0", "conv1", "conv2"]


def test_the_exact_network_stays(network: Network, case: Case):
    exact = case.chosen({})
    before, after = case.fitted(exact), refit(case.known, exact, case.executor)
    assert [_bytes(each) for each in before.values()] == [_bytes(each) for each in after.values()]


def _bytes(fitted: Fitted) -> list[bytes]:
    return [values.tobytes() for step in fitted.steps for values in step.parameters.values()]


def _signature(fitted: Fitted, executor: Executor) -> list[tuple[str, list[tuple[tuple[int, ...], str]]]]:
    isa = executor.target.isa
    return [
        (step.kernel.key, [(each.shape, str(each.dtype)) for each in step.kernel.pack(isa, step.parameters)])
        for step in fitted.steps
    ]
