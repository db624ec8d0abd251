"""What layers compute, exactly, in numpy: calibration's forward pass.

Activations are batches ``(n, h, w, c)``. Convolutions are matrix products over chunks of images, so memory
stays bounded whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from network import operators
from network.execute import Executor, as_read
from network.layers import Layer, Network
from network.reference import activate, pool
from network.resampling import matrices
from network.samples import Samples
from network.unary import composed
from network.variants import Fitted, Form, Step, Variant
from network.windows import Window, convolution

Array = NDArray[np.float32]


def activations(network: Network, samples: Samples) -> dict[str, Array]:
    """Every layer's output ``(n, h, w, c)`` in float32, by layer name."""
    images = zip(network.inputs, samples.inputs, strict=True)
    outputs = {layer.name: np.ascontiguousarray(x.transpose(0, 2, 3, 1)) for layer, x in images}
    for layer in network.layers[len(outputs) :]:
        outputs[layer.name] = run_layer(layer, *(outputs[name] for name in layer.inputs))
    return outputs


def answers(network: Network, outputs: Mapping[str, Array]) -> tuple[Array, ...]:
    """What the network answers, out of its layers' outputs: ``(n, *shape)`` of each in ONNX's order."""
    values = (outputs[each.layer].transpose(0, 3, 1, 2) for each in network.outputs)
    return tuple(x.reshape(len(x), *each.shape) for x, each in zip(values, network.outputs, strict=True))


def run_layer(layer: Layer, *inputs: Array) -> Array:
    """One layer. ``input`` and ``output`` pass on what is NHWC."""
    return activate(FORWARD[layer.op](layer, *inputs), layer.relu, layer.limit)


def _pass_on(layer: Layer, x: Array) -> Array:  # noqa: ARG001 - the signature of all
    return x


def _convolve(layer: Layer, x: Array) -> Array:
    window = Window(layer.kernel, layer.stride, layer.padding, layer.dilation)
    return np.asarray(convolution(x, layer.filters, window, layer.groups) + layer.bias)


def _transpose(layer: Layer, x: Array) -> Array:
    return np.asarray(operators.conv_transpose(layer, x, layer.filters) + layer.bias)


def _pool(layer: Layer, x: Array) -> Array:
    window = Window(layer.kernel, layer.stride, layer.padding)
    return pool(x, layer.op.removesuffix("_pool"), window, layer.count_include_pad)


def _add(layer: Layer, *inputs: Array) -> Array:  # noqa: ARG001
    return np.asarray(sum(inputs[1:], start=inputs[0]))


def _mul(layer: Layer, first: Array, second: Array) -> Array:  # noqa: ARG001
    return first * second


def _concat(layer: Layer, *inputs: Array) -> Array:  # noqa: ARG001
    return np.concatenate(inputs, axis=3)


def _unary(layer: Layer, x: Array) -> Array:
    return composed(layer.settings["functions"], x)


def _opaque(layer: Layer, *inputs: Array) -> Array:
    """By the compiled kernel: there is no other that knows the operator."""
    kernel = layer.settings["kernel"]
    variant = Variant(layer.name, "exact", Form("float32"), Form("float32"), (kernel,))
    fitted = Fitted(variant, (Step(kernel, kernel.lowered.constants),))
    machine = _executor()
    y = machine.run_variant(fitted, *as_read(fitted, machine.target.isa, inputs))
    return np.asarray(y.reshape(len(y), *layer.output_shape))


@cache
def _executor() -> Executor:
    return Executor()


def _resize(layer: Layer, x: Array) -> Array:
    rows, columns = matrices(layer)
    return np.asarray(np.einsum("nrsc,hr,ws->nhwc", x, rows, columns, optimize=True))


def _local_response(layer: Layer, x: Array) -> Array:
    return operators.lrn(x, **layer.settings)


def _softmax(layer: Layer, x: Array) -> Array:  # noqa: ARG001
    return operators.softmax(x)


FORWARD: Mapping[str, Callable[..., Array]] = {
    "add": _add,
    "avg_pool": _pool,
    "concat": _concat,
    "conv2d": _convolve,
    "conv_transpose": _transpose,
    "dense": _convolve,
    "input": _pass_on,
    "lrn": _local_response,
    "max_pool": _pool,
    "mul": _mul,
    "opaque": _opaque,
    "output": _pass_on,
    "relu": _pass_on,
    "resize": _resize,
    "softmax": _softmax,
    "unary": _unary,
}
