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
from network.execute import Executor, first_tiles
from network.layers import Network
from network.refit import refit
from network.samples import Samples
from network.variants import Fitted, Form, Variant
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
    names = [each.name for each in bench.network.layers]
    position = names.index(layer)
    before = _exact_layers(bench, names[:position], bench.samples.x)
    exact = _flat(_exact_layers(bench, names[position:], before))
    effects = {
        name: effect(
            _flat(_with_one_changed(bench, bench.known.alone(layer, name), before)), exact, bench.samples.y
        )
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


def evaluate_configuration(bench: Bench, fitted: Mapping[str, Fitted], cores: Sequence[int]) -> Effect:
    """Try a whole configuration, a variant for each layer."""
    keep_to(cores)
    isa = _executor().target.isa
    choices = {layer: first_tiles(each, isa) for layer, each in fitted.items()}
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
    fitted = [bench.known.fitted(bench.known.alone(name, EXACT)) for name in layers]
    steps = tuple(step for each in fitted for step in each.steps)
    if not steps:
        return inputs
    shape = steps[0].kernel.arguments(_executor().target.isa)[0].shape
    form, kernels = Form("float32"), tuple(step.kernel for step in steps)
    chain = Fitted(Variant("..".join(layers), EXACT, form, form, kernels), steps)
    return _executor().run_variant(chain, inputs.reshape(len(inputs), *shape))


def _with_one_changed(bench: Bench, variant: Variant, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The layer under the variant, then the exact ones behind it."""
    names = [each.name for each in bench.network.layers]
    return _exact_layers(bench, names[names.index(variant.layer) + 1 :], _layer_alone(bench, variant, inputs))


def _layer_alone(bench: Bench, variant: Variant, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """A layer's float32 outputs; what it reads is made before it, integers are undone behind it."""
    context = bench.known.contexts[variant.layer]
    given: NDArray[Any] = inputs
    if (channels := bench.known.read_channels(variant)) is not None:
        shape = bench.network[variant.layer].input_shape
        given = inputs.reshape(len(inputs), *shape)[..., channels]
    if variant.reads.dtype == "uint8":
        given = context.input_qparams.quantize(given)
    if variant.kernels:
        shape_given = variant.kernels[0].arguments(_executor().target.isa)[0].shape
        given = np.ascontiguousarray(given.reshape(len(given), *shape_given))
    outputs = _executor().run_variant(bench.known.fitted(variant), given)
    return context.output_qparams.dequantize(outputs) if variant.writes.dtype == "uint8" else outputs


def _flat(logits: NDArray[np.float32]) -> Logits:
    return logits.reshape(len(logits), -1)
