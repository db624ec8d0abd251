"""Accuracy of variants and configurations, evaluated on the compiled kernels themselves.

Kernels give the same numbers on every instruction set (int8 exactly, float32 up to rounding), so this runs on
the host, for all device classes at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from network.answers import Answers, Labels, by_class, count_right, count_turned
from network.approximations import Catalogue
from network.approximations.stages import Convolve
from network.execute import SAMPLES, Executor, answers_of, as_read, samples_of
from network.layers import Layer, Network
from network.recent import Recent
from network.refit import Refitted, refit
from network.samples import Samples
from network.variants import Fitted, Variant
from workers.build import keep_to
from workers.suffix import Outputs, answers_behind

EXACT = "exact"
KEPT_BYTES: Final = 256 << 20
"""Of refitted layers, and as much again of outputs: the most that a worker keeps..."""
KEPT_SHARE: Final = 1 / 8
"""... and all workers of a machine together of its memory, if there is one for each processor."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to the network's answers."""

    divergence: float
    """Mean Kullback-Leibler divergence of the softmax from the exact network's, in nats."""
    correct: int
    count: int
    """Labels: one a sample, or one for each position of it where outputs have positions."""
    gained: int | None = None
    """Of these, met now and not by the exact network..."""
    lost: int | None = None
    """... and met by the exact network and not now; ``None`` where nobody compared them one by one."""

    @property
    def loss_pp(self) -> float:
        """Of labels met, beside the exact network; raises ``ValueError`` where nobody compared them."""
        if self.gained is None or self.lost is None:
            raise ValueError("answers were not compared one by one; give `effect` those of the exact network")
        return 100 * (self.lost - self.gained) / self.count


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

    @property
    def key(self) -> str:
        """Of everything that a configuration's parameters and answers follow from."""
        digest = hashlib.sha256(f"{self.network.sha256} {self.samples.sha256}".encode())
        for layer in self.network.inputs:
            digest.update(np.ascontiguousarray(self.known.contexts[layer.name].inputs).tobytes())
        for name, variants in self.known.variants.items():
            digest.update("\n".join([name, *(each.key for each in variants)]).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a worker process keeps of the configurations that it has refitted and evaluated lately."""

    refitted: Recent[Refitted | Convolve] = field(default_factory=lambda: Recent(_kept_bytes()))
    outputs: Recent[Outputs] = field(default_factory=lambda: Recent(_kept_bytes()))


def evaluate_layer(
    bench: Bench, layer: str, approximations: Sequence[str], cores: Sequence[int]
) -> LayerEffects:
    """Try approximations of one layer, starting from the activations before it."""
    keep_to(cores)
    before = _exact_tensors(bench, layer)
    exact = _answers_behind(bench, layer, before, EXACT)
    effects = {
        name: effect(_answers_behind(bench, layer, before, name), exact, bench.samples.right)
        for name in approximations
        if name != EXACT
    }
    return LayerEffects(effect(exact, exact, bench.samples.right), effects)


def refit_configuration(bench: Bench, keys: Sequence[str], cores: Sequence[int]) -> dict[str, Fitted]:
    """A whole configuration, a variant's key for each layer, with its layers fitted to each other.

    Only from the first layer on in which it differs from those that this process has refitted lately.
    """
    keep_to(cores)
    chosen = {
        layer.name: bench.known.variant(layer.name, key)
        for layer, key in zip(bench.network.layers, keys, strict=True)
    }
    return refit(bench.known, chosen, _executor(), kept(bench).refitted)


def evaluate_configuration(
    bench: Bench, fitted: Mapping[str, Fitted], exact: Answers, cores: Sequence[int]
) -> Effect:
    """Try a whole configuration, a variant for each layer, beside the exact network's answers.

    Only from the first layer on in which it differs from those that this process has evaluated lately.
    """
    keep_to(cores)
    network, outputs = bench.network, kept(bench).outputs
    answers = answers_behind(network, fitted, bench.samples.inputs, _executor(), outputs)
    return effect(answers, exact, bench.samples.right)


def exact_answers(bench: Bench, inputs: Sequence[NDArray[np.float32]], cores: Sequence[int]) -> Answers:
    """The exact network's answers ``(n, *shape)`` to samples ``(n, channels, height, width)``."""
    keep_to(cores)
    network = bench.network
    given = samples_of(network, inputs)
    outputs = _executor().run_layers(network, _exact(bench, network.layers), given, _answering(network))
    return answers_of(network, outputs)


def effect(answers: Answers, exact: Answers, labels: Mapping[int, Labels]) -> Effect:
    """Compare answers with the exact network's to the same samples; labels as ``Samples.right`` has them.

    A sample counts as many times as it has positions with a label (``network.answers.count_right``).
    """
    turned = count_turned(exact, answers, labels)
    return Effect(divergence(exact, answers), *count_right(answers, labels), *turned)


def divergence(exact: Answers, answers: Answers) -> float:
    """``KL(softmax(exact) || softmax(answers))`` in nats, summed over the outputs; never negative.

    Of each output it is the mean over the samples and over the positions that have a class each.
    """
    pairs = zip(exact, answers, strict=True)
    return sum(max(0.0, _divergence(by_class(one), by_class(other))) for one, other in pairs)


def _divergence(exact: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    """Of one output ``(n, classes, positions)``."""
    reference, changed = _log_softmax(exact), _log_softmax(logits)
    return float((np.exp(reference) * (reference - changed)).sum(axis=1).mean())


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def kept(bench: Bench) -> Kept:
    """What this process keeps for a bench; of the latest bench alone."""
    return _kept(bench.key)


def forget() -> None:
    """Begin anew, as a worker that has seen no configuration yet."""
    _kept.cache_clear()


def _kept_bytes() -> int:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(KEPT_BYTES, int(KEPT_SHARE * memory_bytes / (os.cpu_count() or 1)) // 2)


@lru_cache(maxsize=1)
def _kept(key: str) -> Kept:  # noqa: ARG001 - another bench, another beginning
    return Kept()


@cache
def _executor() -> Executor:
    """One for each worker process: what one task has compiled, the next one uses."""
    return Executor()


def _exact(bench: Bench, layers: Sequence[Layer]) -> dict[str, Fitted]:
    known = bench.known
    return {each.name: known.fitted(known.alone(each.name, EXACT)) for each in layers}


def _exact_tensors(bench: Bench, layer: str) -> dict[str, NDArray[Any]]:
    """What is alive in the exact network when it comes to that layer, answers and samples among it."""
    ahead, behind = _split(bench.network, layer)
    needed = {name for each in behind for name in each.inputs} | set(_answering(bench.network))
    needed &= {each.name for each in ahead}
    given = samples_of(bench.network, bench.samples.inputs)
    if not needed:
        return given
    read = {SAMPLES + each.name for each in ahead if not each.inputs}
    inputs = {name: x for name, x in given.items() if name in read}
    return given | _executor().run_layers(bench.network, _exact(bench, ahead), inputs, sorted(needed))


def _answers_behind(
    bench: Bench, layer: str, before: Mapping[str, NDArray[Any]], approximation: str
) -> Answers:
    """Of the layer under one approximation and the exact ones behind it."""
    network = bench.network
    _, (_, *behind) = _split(network, layer)
    values = {**before, layer: _layer_alone(bench, bench.known.alone(layer, approximation), before)}
    names = {each.name for each in behind}
    if wanted := [name for name in _answering(network) if name in names]:
        read = {source for each in behind for source in each.inputs or (SAMPLES + each.name,)} - names
        given = {name: values[name] for name in read}
        values |= _executor().run_layers(network, _exact(bench, behind), given, wanted)
    return answers_of(network, values)


def _answering(network: Network) -> list[str]:
    """The layers that write the network's answers."""
    return list(dict.fromkeys(each.layer for each in network.outputs))


def _split(network: Network, layer: str) -> tuple[list[Layer], list[Layer]]:
    """The layers ahead of one, and those from it on."""
    position = [each.name for each in network.layers].index(layer)
    return list(network.layers[:position]), list(network.layers[position:])


def _layer_alone(bench: Bench, variant: Variant, before: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """A layer's float32 outputs; what it reads is made before it, integers are undone behind it."""
    names = bench.network[variant.layer].inputs
    given = [_in_form(bench, name, before[name], variant) for name in names]
    given = given or [before[SAMPLES + variant.layer]]
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
