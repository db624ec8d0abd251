"""Accuracy of variants and configurations, evaluated on the compiled kernels themselves.

Kernels give the same numbers on every instruction set (int8 exactly, float32 up to rounding), so this runs on
the host, for all device classes at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.approximations import Context
from network.assemble import Choice
from network.execute import Executor
from network.layers import Network
from network.quantization import QParams
from network.refit import refit
from network.samples import Samples
from network.variants import Variant
from workers.build import keep_to

Logits = NDArray[np.float32]
EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to the network's answers."""

    divergence: float
    """Mean Kullback-Leibler divergence of the softmax from the exact network's, in nats."""
    correct: int
    count: int


@dataclass(frozen=True, slots=True)
class LayerEffects:
    """Effects of one layer's approximations, each with everything else exact."""

    exact: Effect
    effects: Mapping[str, Effect]


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A network, all its variants, and samples to try them on."""

    network: Network
    variants: Mapping[str, Sequence[Variant]]
    qparams: Mapping[str, QParams]
    """Layer to what the integers of its output mean."""
    samples: Samples

    def variant(self, layer: str, key: str) -> Variant:
        """The layer's variant of that key."""
        return next(each for each in self.variants[layer] if each.key == key)

    def alone(self, layer: str, approximation: str) -> Variant:
        """The approximation as it can stand among exact layers: it writes float32 if it can."""
        matching = [each for each in self.variants[layer] if each.approximation == approximation]
        return min(matching, key=lambda each: each.output_dtype != "float32")


def evaluate_layer(
    bench: Bench, layer: str, approximations: Sequence[str], cores: Sequence[int]
) -> LayerEffects:
    """Try approximations of one layer, starting from the activations before it."""
    keep_to(cores)
    names = [each.name for each in bench.network.layers]
    position = names.index(layer)
    before = _exact_layers(bench, names[:position], bench.samples.x)
    exact = _flat(_exact_layers(bench, names[position:], before))
    effects = {
        name: effect(
            _flat(_with_one_changed(bench, bench.alone(layer, name), before)), exact, bench.samples.y
        )
        for name in approximations
        if name != EXACT
    }
    return LayerEffects(effect(exact, exact, bench.samples.y), effects)


def refit_configuration(
    bench: Bench, known: Mapping[str, Context], keys: Sequence[str], cores: Sequence[int]
) -> dict[str, Variant]:
    """A whole configuration, a variant's key for each layer, with its layers fitted to each other."""
    keep_to(cores)
    chosen = {
        layer.name: bench.variant(layer.name, key)
        for layer, key in zip(bench.network.layers, keys, strict=True)
    }
    return refit(bench.network, known, chosen, _executor())


def evaluate_configuration(bench: Bench, chosen: Mapping[str, Variant], cores: Sequence[int]) -> Effect:
    """Try a whole configuration, a variant for each layer."""
    keep_to(cores)
    choices = {layer: _choice(variant) for layer, variant in chosen.items()}
    logits = _executor().run(bench.network, choices, bench.samples.x)
    return effect(logits, _flat(_exact_layers(bench, list(choices), bench.samples.x)), bench.samples.y)


def exact_logits(bench: Bench, inputs: NDArray[np.float32], cores: Sequence[int]) -> Logits:
    """The exact network's answers ``(n, classes)`` to samples ``(n, channels, height, width)``."""
    keep_to(cores)
    return _flat(_exact_layers(bench, [each.name for each in bench.network.layers], inputs))


def effect(logits: Logits, exact: Logits, labels: NDArray[np.int64]) -> Effect:
    """Compare logits ``(n, classes)`` with the exact network's on the same samples."""
    return Effect(divergence(exact, logits), int((logits.argmax(axis=1) == labels).sum()), len(labels))


def divergence(exact: Logits, logits: Logits) -> float:
    """Mean ``KL(softmax(exact) || softmax(logits))`` over the rows, in nats; never negative."""
    reference, changed = _log_softmax(exact), _log_softmax(logits)
    rows = (np.exp(reference) * (reference - changed)).sum(axis=1)
    return max(0.0, float(rows.mean()))


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


@cache
def _executor() -> Executor:
    """One for each worker process: what one task has compiled, the next one uses."""
    return Executor()


def _exact_layers(bench: Bench, layers: Sequence[str], inputs: NDArray[Any]) -> NDArray[Any]:
    """Run layers exactly, one kernel after another for each sample."""
    steps = tuple(step for name in layers for step in bench.alone(name, EXACT).steps)
    if not steps:
        return inputs
    shape = steps[0].kernel.arguments(_executor().target.isa)[0].shape
    chain = Variant("..".join(layers), EXACT, "float32", "float32", steps)
    return _executor().run_variant(chain, inputs.reshape(len(inputs), *shape))


def _with_one_changed(bench: Bench, variant: Variant, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The layer under the variant, then the exact ones behind it."""
    names = [each.name for each in bench.network.layers]
    return _exact_layers(bench, names[names.index(variant.layer) + 1 :], _layer_alone(bench, variant, inputs))


def _layer_alone(bench: Bench, variant: Variant, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """A layer's float32 outputs; integers are made before it and undone behind it where it wants them."""
    layer = bench.network[variant.layer]
    integer = variant.input_dtype == "uint8"
    given = bench.qparams[layer.inputs[0]].quantize(inputs) if integer else inputs
    if variant.steps:
        shape = variant.steps[0].kernel.arguments(_executor().target.isa)[0].shape
        given = given.reshape(len(given), *shape)
    outputs = _executor().run_variant(variant, given)
    return bench.qparams[layer.name].dequantize(outputs) if variant.output_dtype == "uint8" else outputs


def _flat(logits: NDArray[np.float32]) -> Logits:
    return logits.reshape(len(logits), -1)


def _choice(variant: Variant) -> Choice:
    isa = _executor().target.isa
    return Choice(variant, tuple(step.kernel.tiles(isa)[0] for step in variant.steps))
