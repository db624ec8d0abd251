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

from network.approximations import Catalogue
from network.execute import SAMPLES, Executor, as_read, first_tiles
from network.layers import Layer, Network
from network.refit import refit
from network.samples import Samples
from network.variants import Fitted, Variant
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
    """A network with everything that it can become, and samples to try it on."""

    known: Catalogue
    samples: Samples

    @property
    def network(self) -> Network:
        """The network itself."""
        return self.known.network


def evaluate_layer(
    bench: Bench, layer: str, approximations: Sequence[str], cores: Sequence[int]
) -> LayerEffects:
    """Try approximations of one layer, starting from the activations before it."""
    keep_to(cores)
    before = _exact_tensors(bench, layer)
    exact = _answers_behind(bench, layer, before, EXACT)
    effects = {
        name: effect(_answers_behind(bench, layer, before, name), exact, bench.samples.y)
        for name in approximations
        if name != EXACT
    }
    return LayerEffects(effect(exact, exact, bench.samples.y), effects)


def refit_configuration(bench: Bench, keys: Sequence[str], cores: Sequence[int]) -> dict[str, Fitted]:
    """A whole configuration, a variant's key for each layer, with its layers fitted to each other."""
    keep_to(cores)
    chosen = {
        layer.name: bench.known.variant(layer.name, key)
        for layer, key in zip(bench.network.layers, keys, strict=True)
    }
    return refit(bench.known, chosen, _executor())


def evaluate_configuration(
    bench: Bench, fitted: Mapping[str, Fitted], exact: Logits, cores: Sequence[int]
) -> Effect:
    """Try a whole configuration, a variant for each layer, beside the exact network's answers."""
    keep_to(cores)
    isa = _executor().target.isa
    choices = {layer: first_tiles(each, isa) for layer, each in fitted.items()}
    logits = _executor().run(bench.network, choices, bench.samples.x)
    return effect(logits, exact, bench.samples.y)


def exact_logits(bench: Bench, inputs: NDArray[np.float32], cores: Sequence[int]) -> Logits:
    """The exact network's answers ``(n, classes)`` to samples ``(n, channels, height, width)``."""
    keep_to(cores)
    last = bench.network.layers[-1].name
    layers = _exact(bench, bench.network.layers)
    return _flat(_executor().run_layers(bench.network, layers, {SAMPLES: inputs}, [last])[last])


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


def _exact(bench: Bench, layers: Sequence[Layer]) -> dict[str, Fitted]:
    known = bench.known
    return {each.name: known.fitted(known.alone(each.name, EXACT)) for each in layers}


def _exact_tensors(bench: Bench, layer: str) -> dict[str, NDArray[Any]]:
    """What is alive in the exact network when it comes to that layer; ahead of the first one the samples."""
    ahead, behind = _split(bench.network, layer)
    needed = {name for each in behind for name in each.inputs} & {each.name for each in ahead}
    given = {SAMPLES: bench.samples.x}
    if not ahead:
        return given
    return _executor().run_layers(bench.network, _exact(bench, ahead), given, sorted(needed))


def _answers_behind(
    bench: Bench, layer: str, before: Mapping[str, NDArray[Any]], approximation: str
) -> Logits:
    """Of the layer under one approximation and the exact ones behind it."""
    _, (_, *behind) = _split(bench.network, layer)
    outputs = _layer_alone(bench, bench.known.alone(layer, approximation), before)
    if not behind:
        return _flat(outputs)
    last = behind[-1].name
    given = {**before, layer: outputs}
    return _flat(_executor().run_layers(bench.network, _exact(bench, behind), given, [last])[last])


def _split(network: Network, layer: str) -> tuple[list[Layer], list[Layer]]:
    """The layers ahead of one, and those from it on."""
    position = [each.name for each in network.layers].index(layer)
    return list(network.layers[:position]), list(network.layers[position:])


def _layer_alone(bench: Bench, variant: Variant, before: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """A layer's float32 outputs; what it reads is made before it, integers are undone behind it."""
    names = bench.network[variant.layer].inputs
    given = [_in_form(bench, name, before[name], variant) for name in names] or [before[SAMPLES]]
    fitted = bench.known.fitted(variant)
    outputs = _executor().run_variant(fitted, *as_read(fitted, _executor().target.isa, given))
    qparams = bench.known.contexts[variant.layer].output_qparams
    return qparams.dequantize(outputs) if variant.writes.dtype == "uint8" else outputs


def _in_form(bench: Bench, source: str, values: NDArray[np.float32], variant: Variant) -> NDArray[Any]:
    """An exact tensor as the variant reads it."""
    given: NDArray[Any] = values
    if (channels := bench.known.read_channels(variant)) is not None:
        shape = bench.network[source].output_shape
        given = np.ascontiguousarray(values.reshape(len(values), *shape)[..., channels])
    if variant.reads.dtype == "uint8":
        given = bench.known.contexts[source].output_qparams.quantize(given)
    return given


def _flat(logits: NDArray[np.float32]) -> Logits:
    return logits.reshape(len(logits), -1)
