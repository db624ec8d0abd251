"""Refit in context: a whole configuration whose layers are fitted to what they are really given.

A variant is fitted to the exact network's activations. In a configuration the layers ahead of it have erred
already, and their errors add up. Here each layer in turn sees its inputs as the approximated layers ahead
produce them, and its weights are solved for the exact network's outputs, before its approximation is fitted
again: the asymmetric reconstruction of Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks for
Classification and Detection", section 3.3, for every method and number format. Kernels stay what they were:
a refit costs nothing on the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.approximations import Context, fitted_anew
from network.approximations.rows import behind_relu, regress, ridge_inverse, sample_windows
from network.approximations.stages import weights
from network.execute import Executor
from network.layers import Layer, Network
from network.variants import Variant

EXACT = "exact f32>f32"
PROPAGATED_BYTES = 512 << 20
"""Of the largest tensor, over all samples that are sent through the configuration."""


def refit(
    network: Network, known: Mapping[str, Context], chosen: Mapping[str, Variant], executor: Executor
) -> dict[str, Variant]:
    """The chosen variants, by layer, fitted to each other; ``known`` are the contexts that they came from.

    Layers with nothing approximated ahead of them stay as they are. The same choice gives the same result.
    """
    if all(variant.key == EXACT for variant in chosen.values()):
        return dict(chosen)
    executor.compile(
        (step.kernel, step.kernel.tiles(executor.target.isa)[0])
        for variant in chosen.values()
        for step in variant.steps
    )
    found: dict[str, Variant] = {}
    values: dict[str, NDArray[Any]] = {}
    changed: set[str] = set()
    for layer in network.layers:
        variant = chosen[layer.name]
        given = values[layer.inputs[0]] if layer.inputs else _images(network, known)
        if changed & set(layer.inputs):
            changed.add(layer.name)
            if layer.has_weights:
                context = _in_place(known[layer.name], variant, given)
                variant = fitted_anew(variant, _solved(layer, context), context)
        elif variant.key != EXACT:
            changed.add(layer.name)
        found[layer.name] = variant
        values[layer.name] = _run(executor, layer, variant, given)
    return found


def _images(network: Network, known: Mapping[str, Context]) -> NDArray[np.float32]:
    """Calibration samples ``(n, channels, height, width)``, as many as fit through the network at once."""
    largest = max(4 * prod(layer.output_shape) for layer in network.layers)
    images = known[network.layers[0].name].inputs[: max(1, PROPAGATED_BYTES // largest)]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _in_place(exact: Context, variant: Variant, given: NDArray[Any]) -> Context:
    """The context with the inputs that the layer is given; what it should answer stays."""
    count = min(len(exact.outputs), len(given))
    inputs = given[:count]
    if variant.input_dtype == "uint8":
        inputs = exact.input_qparams.dequantize(inputs)
    return replace(exact, inputs=inputs, outputs=exact.outputs[:count])


def _solved(layer: Layer, context: Context) -> Layer:
    """The layer with the weights that come closest to the outputs from the inputs of this context."""
    weight, bias = weights(layer)
    x, targets = sample_windows(layer, context)
    x_mean = x.mean(axis=0)
    x = x - x_mean
    before = weight.reshape(len(weight), -1).T.astype(np.float64)
    mean = (x_mean @ before + bias).astype(np.float32)
    predicted = x @ before.astype(np.float32) + mean
    missing = behind_relu(targets, predicted, layer.relu) - predicted
    inverse = ridge_inverse(x, missing - missing.mean(axis=0))
    after, mean = regress(x, targets, inverse, (before, mean), layer.relu)
    return replace(
        layer,
        weight=np.ascontiguousarray(after.T.reshape(weight.shape), np.float32),
        bias=(mean - x_mean @ after).astype(np.float32),
    )


def _run(executor: Executor, layer: Layer, variant: Variant, given: NDArray[Any]) -> NDArray[Any]:
    """A layer's outputs ``(n, h, w, c)`` in the element type that its variant writes."""
    if variant.steps:
        shape = variant.steps[0].kernel.arguments(executor.target.isa)[0].shape
        given = executor.run_variant(variant, given.reshape(len(given), *shape))
    return given.reshape(len(given), *layer.output_shape)
