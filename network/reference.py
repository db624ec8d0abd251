"""What layers and kernels compute, in numpy: calibration's forward pass and the kernels' meaning.

Activations are batches ``(n, h, w, c)``. Convolutions are matrix products over chunks of images, so memory
stays bounded whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.kernels.conv2d import Conv2d
from network.kernels.expand import Expand
from network.kernels.input import Input
from network.kernels.pool import Pool
from network.kernels.relu import Relu
from network.layers import INPUT, Layer, Network
from network.samples import Samples
from network.variants import Step
from network.windows import Window, matrix_product, windows

Array = NDArray[Any]
Parameters = Mapping[str, Array]


def activations(network: Network, samples: Samples) -> dict[str, NDArray[np.float32]]:
    """Every layer's output ``(n, h, w, c)`` in float32, by layer name."""
    outputs = {INPUT: np.ascontiguousarray(samples.x.transpose(0, 2, 3, 1))}
    for layer in network.layers[1:]:
        outputs[layer.name] = run_layer(layer, outputs[layer.inputs[0]])
    return outputs


def run_layer(layer: Layer, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """One layer, exactly. ``input`` passes on what is already NHWC."""
    if layer.weight is not None:
        y = matrix_product(x, layer.weight, layer.stride, layer.padding) + layer.bias
        return _activate(y, layer.relu)
    if layer.op in {"max_pool", "avg_pool"}:
        window = Window(layer.kernel, layer.stride, layer.padding)
        return pool(x, layer.op.removesuffix("_pool"), window, layer.count_include_pad)
    return _activate(x, layer.relu)


def run_steps(steps: Sequence[Step], x: Array) -> Array:
    """One kernel after the other; no steps pass ``x`` on."""
    for step in steps:
        x = run_step(step, x)
    return x


def run_step(step: Step, x: Array) -> Array:
    """What the kernel computes with its unpacked parameters, to one rounding step.

    ``Input`` reads samples ``(n, c, h, w)``; every other kernel reads and writes ``(n, h, w, c)``.
    """
    return KERNELS[type(step.kernel)](step.kernel, step.parameters, x)


def pool(x: Array, operator: str, window: Window, count_include_pad: bool, zero_point: int = 0) -> Array:
    """Maximum or average over windows in x's element type; an average of integers is rounded half to even."""
    if operator == "max":
        return np.asarray(windows(x, window, 0 if x.dtype == np.uint8 else -np.inf).max(axis=(3, 4)))
    total = windows(x.astype(np.float32), window, zero_point if count_include_pad else 0).sum(axis=(3, 4))
    present = np.ones((1, *x.shape[1:3], 1), np.float32)
    count = windows(present, window, float(count_include_pad)).sum(axis=(3, 4))
    return _store(total / count, x.dtype)


def expand(
    grid: Array, shape: tuple[int, int], rows: int, cols: int, coefficients: Array
) -> NDArray[np.float32]:
    """Fill the samples between those of ``grid`` (n, h, w, c); ``coefficients`` are (rows * cols, 5, c)."""
    below, right = (np.minimum(np.arange(size) + 1, size - 1) for size in grid.shape[1:3])
    neighbours = (grid, grid[:, :, right], grid[:, below], grid[:, below][:, :, right])
    filled = np.empty((len(grid), grid.shape[1] * rows, grid.shape[2] * cols, grid.shape[3]), np.float32)
    filled[:, ::rows, ::cols] = grid
    for phase in range(1, rows * cols):
        weights = coefficients[phase]
        mixed = weights[4] + sum(k * each for k, each in zip(weights[:4], neighbours, strict=True))
        filled[:, phase // cols :: rows, phase % cols :: cols] = mixed
    return filled[:, : shape[0], : shape[1]]


def _conv2d(kernel: Any, parameters: Parameters, x: Array) -> Array:
    integers = kernel.input_dtype == "uint8"
    if kernel.selected:
        x = x[..., parameters["index"]]
    # Sums of products of integers are exact in float64, and faster than numpy's integer products.
    weight = parameters["weight"].astype(np.float64 if integers else np.float32)
    fill = float(parameters["zero_point"][0]) if integers else 0.0
    total = matrix_product(x, weight, kernel.stride, kernel.padding, fill).astype(np.float32)
    scale = parameters.get("scale", np.float32(1))
    return _store(_activate(total * scale + parameters["bias"], kernel.relu), kernel.output_dtype)


def _pool(kernel: Any, parameters: Parameters, x: Array) -> Array:
    zero_point = int(parameters["zero_point"][0]) if "zero_point" in parameters else 0
    window = Window(kernel.kernel, kernel.stride, kernel.padding)
    return pool(x, kernel.operator, window, kernel.count_include_pad, zero_point)


def _input(kernel: Any, parameters: Parameters, x: Array) -> Array:
    image = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    if kernel.output_dtype == "float32":
        return image
    return _store(image * parameters["scale"] + parameters["zero_point"], "uint8")


def _relu(kernel: Any, parameters: Parameters, x: Array) -> Array:
    return np.maximum(x, parameters["zero_point"][0] if kernel.dtype == "uint8" else np.float32(0))


def _expand(kernel: Any, parameters: Parameters, x: Array) -> Array:
    height, width, _ = kernel.output_shape
    filled = expand(x, (height, width), kernel.rows, kernel.cols, parameters["coefficients"])
    return _store(_activate(filled, kernel.relu), kernel.dtype)


def _activate(x: Array, relu: bool) -> Array:
    return np.maximum(x, np.float32(0)) if relu else x


def _store(x: Array, dtype: Any) -> Array:
    """As kernels write it: integers are rounded half to even and saturate."""
    return np.rint(x).clip(0, 255).astype(np.uint8) if np.dtype(dtype) == np.uint8 else x


KERNELS: Mapping[type, Callable[[Any, Parameters, Array], Array]] = {
    Conv2d: _conv2d,
    Expand: _expand,
    Input: _input,
    Pool: _pool,
    Relu: _relu,
}
