"""A configuration fitted in context answers more like the exact network; kernels stay what they are."""

from dataclasses import dataclass

import numpy as np
import pytest

from network.approximations import Context, contexts, network_variants
from network.assemble import Choice
from network.execute import Executor
from network.layers import Layer, Network
from network.refit import refit
from network.samples import Samples
from network.variants import Variant

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
    return Network("deep", "0" * 64, (3, 8, 8), tuple(layers))


HIDDEN = [f"conv{index}" for index in range(1, DEEP)]
CONFIGURATIONS = {
    "channels": dict.fromkeys(HIDDEN, "channels(1/2) f32>f32"),
    "lowrank": dict.fromkeys(HIDDEN, "lowrank(1/4) f32>f32"),
    "perforate": dict.fromkeys(HIDDEN, "perforate(cols=2) f32>f32"),
    "int8": {
        "input": "int8 f32>u8",
        "conv0": "int8 u8>u8",
        **dict.fromkeys(HIDDEN, "int8+channels(1/2) u8>u8"),
        "out": "int8 u8>f32",
    },
}


@dataclass(frozen=True, eq=False)
class Case:
    seen: Samples
    unseen: Samples
    known: dict[str, Context]
    variants: dict[str, tuple[Variant, ...]]
    executor: Executor

    def chosen(self, keys: dict[str, str]) -> dict[str, Variant]:
        return {
            layer: next(each for each in several if each.key == keys.get(layer, EXACT))
            for layer, several in self.variants.items()
        }

    def answers(self, network: Network, chosen: dict[str, Variant]) -> np.ndarray:
        isa = self.executor.target.isa
        choices = {
            layer: Choice(each, tuple(step.kernel.tiles(isa)[0] for step in each.steps))
            for layer, each in chosen.items()
        }
        return self.executor.run(network, choices, self.unseen.x)


@pytest.fixture(scope="module")
def case(network: Network) -> Case:
    random = np.random.default_rng(6)
    noise = random.normal(size=(600, 3, 10, 10))
    smooth = sum(noise[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)) / 3
    labels = np.zeros(300, np.int64)
    seen, unseen = (Samples(smooth[start::2].astype(np.float32), labels) for start in (0, 1))
    return Case(seen, unseen, contexts(network, seen), network_variants(network, seen), Executor())


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_deep_configuration_comes_nearer_to_the_exact_network(network: Network, case: Case, name: str):
    exact, before = case.chosen({}), case.chosen(CONFIGURATIONS[name])
    after = refit(network, case.known, before, case.executor)
    wanted, *others = (case.answers(network, each) for each in (exact, before, after))
    worse, better = (float(np.square(each - wanted).mean()) for each in others)
    assert better < 0.9 * worse


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_kernels_and_their_arguments_stay(network: Network, case: Case, name: str):
    before = case.chosen(CONFIGURATIONS[name])
    after = refit(network, case.known, before, case.executor)
    for old, new in zip(before.values(), after.values(), strict=True):
        assert old.key == new.key
        assert _signature(old, case.executor) == _signature(new, case.executor)


def test_layers_ahead_of_any_approximation_stay(network: Network, case: Case):
    before = case.chosen({"conv2": "channels(1/2) f32>f32"})
    after = refit(network, case.known, before, case.executor)
    assert all(after[name] is before[name] for name in ("input", "conv0", "conv1", "conv2"))
    assert all(after[name] is not before[name] for name in ("conv3", "conv4", "out"))


def test_the_exact_network_stays(network: Network, case: Case):
    exact = case.chosen({})
    assert refit(network, case.known, exact, case.executor) == exact


def _signature(variant: Variant, executor: Executor) -> list[tuple[str, list[tuple[tuple[int, ...], str]]]]:
    isa = executor.target.isa
    return [
        (step.kernel.key, [(each.shape, str(each.dtype)) for each in step.kernel.pack(isa, step.parameters)])
        for step in variant.steps
    ]
