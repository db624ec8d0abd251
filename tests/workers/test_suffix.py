"""A configuration is evaluated from the first layer on in which it differs: the answers are the same."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from network.execute import Executor
from network.recent import Recent
from network.refit import refit
from network.variants import Fitted, Step
from tests.small_network import Small
from workers.accuracy import Bench, evaluate_configuration, exact_answers, kept, refit_configuration
from workers.suffix import answers_behind

INT8 = ("int8 f32>u8", "int8 u8>u8", "int8 u8>u8", "int8 u8>u8", "int8 u8>f32")


class Watched(Executor):
    """Says which layers it was asked to run."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []

    def run_layers(
        self, network: Any, fitted: Mapping[str, Fitted], given: Any, wanted: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        self.ran = list(fitted)
        return super().run_layers(network, fitted, given, wanted)


@pytest.fixture(scope="module")
def known(small: Small) -> list[tuple[str, ...]]:
    """Configurations that differ from the first, from the last, from a layer between, and one again."""
    float_only = [
        [each.key for each in small.known.variants[layer.name] if each.key.endswith(" f32>f32")]
        for layer in small.network.layers
    ]
    first, last = (tuple(keys[at] for keys in float_only) for at in (0, -1))
    middle = len(first) // 2
    return [INT8, first, last, first[:middle] + last[middle:], last[:middle] + first[middle:], first, INT8]


def chosen(small: Small, keys: Sequence[str]) -> dict[str, Any]:
    layers = zip(small.network.layers, keys, strict=True)
    return {layer.name: small.known.variant(layer.name, key) for layer, key in layers}


def test_answers_are_those_of_the_whole_network(small: Small, known: list[tuple[str, ...]]):
    remembering: Recent[NDArray[Any]] = Recent(1 << 24)
    executor, inputs = Executor(), small.samples.inputs
    for keys in known:
        fitted = refit(small.known, chosen(small, keys), executor)
        whole = answers_behind(small.network, fitted, inputs, executor, Recent(0))
        suffix = answers_behind(small.network, fitted, inputs, executor, remembering)
        np.testing.assert_array_equal(whole[0], suffix[0])
    assert len(remembering) > 0


def test_only_what_lies_behind_the_first_difference_runs(small: Small):
    executor, recent = Watched(), Recent[NDArray[Any]](1 << 24)
    names = [each.name for each in small.network.layers]
    exact = {each: small.known.fitted(small.known.alone(each, "exact")) for each in names}
    (step,) = exact["conv2"].steps
    doubled = Step(step.kernel, {name: 2 * each for name, each in step.parameters.items()})
    other = exact | {"conv2": replace(exact["conv2"], steps=(doubled,))}
    inputs = small.samples.inputs
    answers_behind(small.network, exact, inputs, executor, recent)
    assert sorted(executor.ran) == sorted(names)
    answers_behind(small.network, other, inputs, executor, recent)
    assert sorted(executor.ran) == sorted(names[names.index("conv2") :])
    executor.ran = []
    answers_behind(small.network, exact, inputs, executor, recent)
    assert executor.ran == []


def test_a_refit_that_remembers_gives_the_same_parameters(small: Small, known: list[tuple[str, ...]]):
    executor, recent = Executor(), Recent[Any](1 << 24)
    for keys in known:
        variants = chosen(small, keys)
        afresh, remembered = (
            refit(small.known, variants, executor),
            refit(small.known, variants, executor, recent),
        )
        for name, fitted in afresh.items():
            for one, other in zip(fitted.steps, remembered[name].steps, strict=True):
                for parameter, values in one.parameters.items():
                    np.testing.assert_array_equal(values, other.parameters[parameter])
    assert len(recent) > 0


def test_a_worker_remembers_one_bench_within_its_bytes(bench: Bench, known: list[tuple[str, ...]]):
    exact = exact_answers(bench, bench.samples.inputs, ())
    found = {
        keys: evaluate_configuration(bench, refit_configuration(bench, keys, ()), exact, ()) for keys in known
    }
    again = {
        keys: evaluate_configuration(bench, refit_configuration(bench, keys, ()), exact, ()) for keys in found
    }
    assert again == found
    assert 0 < kept(bench).outputs.kept_bytes <= kept(bench).outputs.most_bytes
    assert kept(Bench(bench.known, bench.samples)) is kept(bench)
    assert len(kept(Bench(bench.known, bench.samples.take(5))).outputs) == 0
