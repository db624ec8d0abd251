"""Refit in context: a whole configuration whose layers are fitted to what they are really given.

A variant is fitted to the exact network's activations. In a configuration the layers ahead of it have erred
already, and their errors add up. Here each layer in turn sees its inputs as the approximated layers ahead
produce them, and its weights are solved for the exact network's outputs, before its approximation is fitted
again: the asymmetric reconstruction of Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks for
Classification and Detection", section 3.3, for every method and number format; a convolution in groups keeps
its weights, and only its bias is corrected. Kernels stay what they were: a refit costs nothing on the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.approximations import Catalogue, Context, parse
from network.approximations.registry import methods
from network.approximations.rows import behind_relu, regress, ridge_inverse, sample_windows
from network.approximations.stages import Convolve, Stages
from network.execute import Executor, as_read
from network.layers import Layer
from network.recent import Recent, chained, fitted_bytes
from network.variants import Fitted, Variant

PROPAGATED_BYTES = 512 << 20
"""Of the largest tensor, over all samples that are sent through the configuration."""
NOTHING_KEPT = 0
Solve = Callable[[Convolve, Context], Convolve]
"""From the convolution that an approximation stands for to the one that fits the inputs it is given."""


@dataclass(frozen=True, slots=True, eq=False)
class Refitted:
    """One layer of a configuration, with all layers ahead of it as they are."""

    fitted: Fitted
    outputs: NDArray[Any]
    """``(n, h, w, c)`` in the form that its variant writes, of the calibration samples."""

    @property
    def nbytes(self) -> int:
        """What keeping it takes."""
        return self.outputs.nbytes + fitted_bytes(self.fitted)


def refit(
    known: Catalogue,
    chosen: Mapping[str, Variant],
    executor: Executor,
    recent: Recent[Refitted | Convolve] | None = None,
) -> dict[str, Fitted]:
    """The chosen variants, by layer, fitted to each other.

    Layers with nothing approximated ahead of them are as the catalogue has them. The same choice gives the
    same result, and so does the same choice for everything ahead of a layer: ``recent``, of this catalogue
    alone, holds what earlier calls have solved for, and the solutions that several approximations start from.
    """
    if all(_is_exact(variant) for variant in chosen.values()):
        return {name: known.fitted(variant) for name, variant in chosen.items()}
    executor.compile(
        (kernel, kernel.tiles(executor.target.isa)[0])
        for variant in chosen.values()
        for kernel in variant.kernels
    )
    recent = Recent[Refitted | Convolve](NOTHING_KEPT) if recent is None else recent
    found: dict[str, Refitted] = {}
    keys: dict[str, str] = {}
    images = _images(known)
    changed: set[str] = set()
    for layer in known.network.layers:
        variant = chosen[layer.name]
        keys[layer.name] = key = chained(
            layer.name, variant.key, behind=(keys[name] for name in layer.inputs)
        )
        disturbed = bool(changed & set(layer.inputs))
        if disturbed or not _is_exact(variant):
            changed.add(layer.name)
        kept = recent.get(key)
        if not isinstance(kept, Refitted):
            given = [found[name].outputs for name in layer.inputs] or [images[layer.name]]
            solved = partial(_solved_once, recent, [keys[name] for name in layer.inputs])
            kept = _refitted(known, layer, variant, given, solved if disturbed else None, executor)
            recent.keep(key, kept, kept.nbytes)
        found[layer.name] = kept
    return {name: each.fitted for name, each in found.items()}


def _refitted(
    known: Catalogue,
    layer: Layer,
    variant: Variant,
    given: list[NDArray[Any]],
    solved: Solve | None,
    executor: Executor,
) -> Refitted:
    """A layer that is given these inputs; fitted to them where they are not the exact network's."""
    fitted = (
        _in_place(known, variant, solved, *given)
        if solved is not None and layer.has_weights
        else known.fitted(variant)
    )
    return Refitted(fitted, _run(executor, layer, fitted, given))


def _is_exact(variant: Variant) -> bool:
    """Whether what it writes is what the exact network has there, if not all of it."""
    return variant.approximation == "exact" and variant.writes.dtype == "float32"


def _images(known: Catalogue) -> dict[str, NDArray[np.float32]]:
    """Calibration samples ``(n, channels, height, width)`` of each input, as many as fit through at once."""
    largest = max(4 * prod(layer.output_shape) for layer in known.network.layers)
    given = {layer.name: known.contexts[layer.name].inputs for layer in known.network.inputs}
    count = min(max(1, PROPAGATED_BYTES // largest), *(len(each) for each in given.values()))
    return {name: np.ascontiguousarray(x[:count].transpose(0, 3, 1, 2)) for name, x in given.items()}


def _in_place(known: Catalogue, variant: Variant, solved: Solve, given: NDArray[Any]) -> Fitted:
    """A variant of a layer with weights, fitted to the inputs that it is given."""
    context = _given(known.context(variant), variant, given)
    stages = known.stages_of(variant)
    method = methods().get(parse(variant.approximation).method or "")
    whole = known.whole_of(variant)
    base = method.base(stages, whole) if method else whole
    if base.groups == 1:
        base = solved(base, context)
    fitted: Stages = method.refit(stages, base, context) if method else (base,)
    return known.fitted(variant, fitted, context)


def _given(exact: Context, variant: Variant, given: NDArray[Any]) -> Context:
    """The context with other inputs; what the layer should answer stays."""
    count = min(len(exact.outputs), len(given))
    inputs = given[:count]
    if variant.reads.dtype == "uint8":
        inputs = exact.input_qparams.dequantize(inputs)
    return replace(exact, inputs=inputs, outputs=exact.outputs[:count])


def _solved_once(
    recent: Recent[Refitted | Convolve], ahead: Sequence[str], base: Convolve, context: Context
) -> Convolve:
    """The same for all approximations that start from this convolution, behind the same layers."""
    digest = hashlib.sha256(base.weight.tobytes() + base.bias.tobytes())
    digest.update(repr((base.weight.shape, base.window, context.outputs.shape)).encode())
    digest.update(b"" if base.index is None else np.asarray(base.index).tobytes())
    key = chained("solved", digest.hexdigest(), behind=ahead)
    solved = recent.get(key)
    if not isinstance(solved, Convolve):
        solved = _solved(base, context)
        recent.keep(key, solved, solved.weight.nbytes + solved.bias.nbytes)
    return solved


def _solved(base: Convolve, context: Context) -> Convolve:
    """The convolution with the weights that come closest to the outputs from the inputs of this context."""
    x, targets = sample_windows(base, context)
    x_mean = x.mean(axis=0)
    x = x - x_mean
    before = base.weight.reshape(len(base.weight), -1).T.astype(np.float64)
    mean = (x_mean @ before + base.bias).astype(np.float32)
    predicted = x @ before.astype(np.float32) + mean
    missing = behind_relu(targets, predicted, base.relu) - predicted
    inverse = ridge_inverse(x, missing - missing.mean(axis=0))
    after, mean = regress(x, targets, inverse, (before, mean), base.relu)
    return replace(
        base,
        weight=np.ascontiguousarray(after.T.reshape(base.weight.shape), np.float32),
        bias=(mean - x_mean @ after).astype(np.float32),
    )


def _run(executor: Executor, layer: Layer, fitted: Fitted, given: list[NDArray[Any]]) -> NDArray[Any]:
    """A layer's outputs ``(n, h, w, c)`` in the form that its variant writes."""
    outputs = executor.run_variant(fitted, *as_read(fitted, executor.target.isa, given))
    return outputs.reshape(len(outputs), *layer.output_shape[:2], -1)
