"""What layers and kernels compute, in numpy: calibration's forward pass and the kernels' meaning.

Activations are batches ``(n, h, w, c)``. Convolutions are matrix products over chunks of images, so memory
stays bounded whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network import operators
from network.kernels.add import Add
from network.kernels.concat import Concat
from network.kernels.conv2d import Conv2d
from network.kernels.conv_transpose import ConvTranspose
from network.kernels.depthwise import Depthwise
from network.kernels.elementwise import Elementwise
from network.kernels.expand import Expand
from network.kernels.input import Input
from network.kernels.lookup import Lookup
from network.kernels.lrn import Lrn
from network.kernels.mul import Mul
from network.kernels.output import Output
from network.kernels.pool import Pool
from network.kernels.relu import Relu
from network.kernels.resize import Resize
from network.kernels.scale_shift import ScaleShift
from network.kernels.softmax import Softmax
from network.kernels.storage import decode
from network.kernels.winograd import Winograd
from network.perforation import Pattern
from network.unary import composed
from network.variants import Step
from network.windows import Window, convolution, windows

Array = NDArray[Any]
Parameters = Mapping[str, Array]


def run_steps(steps: Sequence[Step], *xs: Array) -> Array:
    """One kernel after the other, the first of all inputs; no steps pass a single input on."""
    for step in steps:
        xs = (run_step(step, *xs),)
    (x,) = xs
    return x


def run_step(step: Step, *xs: Array) -> Array:
    """What the kernel computes of its inputs with its unpacked parameters, to one rounding step.

    ``Input`` reads samples ``(n, c, h, w)``; all read and write ``(n, h, w, c)`` else, ``Output`` too.
    """
    return KERNELS[type(step.kernel)](step.kernel, step.parameters, *xs)


def pool(x: Array, operator: str, window: Window, count_include_pad: bool, zero_point: int = 0) -> Array:
    """Maximum or average over windows in x's element type; an average of integers is rounded half to even."""
    if operator == "max":
        return np.asarray(windows(x, window, 0 if x.dtype == np.uint8 else -np.inf).max(axis=(3, 4)))
    total = windows(x.astype(np.float32), window, zero_point if count_include_pad else 0).sum(axis=(3, 4))
    present = np.ones((1, *x.shape[1:3], 1), np.float32)
    count = windows(present, window, float(count_include_pad)).sum(axis=(3, 4))
    return _store(total / count, x.dtype)


def expand(grid: Array, shape: tuple[int, int], pattern: Pattern, coefficients: Array) -> NDArray[np.float32]:
    """Fill the samples between those of ``grid`` (n, h, w, c); ``coefficients`` are (rows * cols, 5, c)."""
    filled = np.empty((len(grid), *shape, grid.shape[3]), np.float32)
    for phase, weights in enumerate(coefficients):
        down, right = divmod(phase, pattern.cols)
        sources = pattern.known(grid, shape, down, right)
        mixed: Any = sources[0]
        if len(sources) > 1:
            mixed = weights[4] + sum(k * each for k, each in zip(weights[:4], sources, strict=True))
        filled[:, down :: pattern.rows, right :: pattern.cols] = mixed
    return filled


def _conv2d(kernel: Any, parameters: Parameters, x: Array) -> Array:
    integers = kernel.input_dtype == "uint8"
    if kernel.selected:
        x = x[..., parameters["index"]]
    # Sums of products of integers are exact in float64, and faster than numpy's integer products.
    weight = parameters["weight"].astype(np.float64) if integers else parameters["weight"]
    if kernel.storage:
        weight = decode(weight, kernel.storage)
    fill = float(parameters["zero_point"][0]) if integers else 0.0
    window = Window(kernel.kernel, kernel.stride, kernel.padding, kernel.dilation, kernel.shear)
    total = convolution(x, weight, window, kernel.groups, fill).astype(np.float32)
    scale = parameters.get("scale", np.float32(1))
    return _finish(kernel, parameters, total * scale + parameters["bias"])


def _as_convolution(kernel: Any, parameters: Parameters, x: Array) -> Array:
    return _conv2d(kernel.convolution, parameters, x)


def _pool(kernel: Any, parameters: Parameters, x: Array) -> Array:
    zero_point = int(parameters["zero_point"][0]) if "zero_point" in parameters else 0
    window = Window(kernel.kernel, kernel.stride, kernel.padding)
    return pool(x, kernel.operator, window, kernel.count_include_pad, zero_point)


def _input(kernel: Any, parameters: Parameters, x: Array) -> Array:
    image = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    if kernel.output_dtype == "float32":
        return image
    return _store(image * parameters["scale"] + parameters["zero_point"], "uint8")


def _output(kernel: Any, parameters: Parameters, x: Array) -> Array:
    if kernel.input_dtype == "float32":
        return x
    return np.asarray(x.astype(np.float32) * parameters["scale"] + parameters["bias"], np.float32)


def _relu(kernel: Any, parameters: Parameters, x: Array) -> Array:
    return np.maximum(x, parameters["zero_point"][0] if kernel.dtype == "uint8" else np.float32(0))


def _expand(kernel: Any, parameters: Parameters, x: Array) -> Array:
    height, width, _ = kernel.output_shape
    filled = expand(x, (height, width), kernel.pattern, parameters["coefficients"])
    return _store(activate(filled, kernel.relu), kernel.dtype)


def _conv_transpose(kernel: Any, parameters: Parameters, x: Array) -> Array:
    integers = kernel.input_dtype == "uint8"
    weight = parameters["weight"].astype(np.float64 if integers else np.float32)
    zero = float(parameters["zero_point"][0]) if integers else 0.0
    total = operators.conv_transpose(kernel, x.astype(weight.dtype) - zero, weight)
    scale = parameters.get("scale", np.float32(1))
    return _finish(kernel, parameters, total.astype(np.float32) * scale + parameters["bias"])


def _add(kernel: Any, parameters: Parameters, a: Array, b: Array) -> Array:
    if not kernel.scaled:
        return _finish(kernel, parameters, a + b)
    scale = parameters["scale"]
    return _finish(kernel, parameters, a * scale[0] + b * scale[1] + parameters["bias"][0])


def _scale_shift(kernel: Any, parameters: Parameters, x: Array) -> Array:
    return _finish(kernel, parameters, x * parameters["scale"] + parameters["bias"])


def _mul(_kernel: Any, _parameters: Parameters, a: Array, b: Array) -> Array:
    return a * b


def _concat(_kernel: Any, _parameters: Parameters, *xs: Array) -> Array:
    return np.concatenate(xs, axis=3)


def _elementwise(kernel: Any, _parameters: Parameters, x: Array) -> Array:
    return composed(kernel.chain, x)


def _lookup(_kernel: Any, parameters: Parameters, x: Array) -> Array:
    return np.asarray(parameters["table"][x])


def _softmax(_kernel: Any, _parameters: Parameters, x: Array) -> Array:
    return operators.softmax(x)


def _lrn(kernel: Any, _parameters: Parameters, x: Array) -> Array:
    return operators.lrn(x, kernel.size, kernel.alpha, kernel.beta, kernel.bias)


def _resize(kernel: Any, _parameters: Parameters, x: Array) -> Array:
    return _store(operators.resize(kernel, x), kernel.dtype)


def _finish(kernel: Any, parameters: Parameters, x: Array) -> Array:
    """With the kernel's activation, as it writes it."""
    if "floor" in parameters:
        return _store(np.maximum(x, parameters["floor"]), kernel.output_dtype)
    return _store(activate(x, kernel.relu, kernel.clip), kernel.output_dtype)


def activate(x: Array, relu: bool, clip: float = 0.0) -> Array:
    """Behind a ReLU that is cut off at ``clip``; 0 does not cut."""
    x = np.maximum(x, np.float32(0)) if relu else x
    return np.minimum(x, np.float32(clip)) if clip else x


def _store(x: Array, dtype: Any) -> Array:
    """As kernels write it: integers are rounded half to even and saturate."""
    return np.rint(x).clip(0, 255).astype(np.uint8) if np.dtype(dtype) == np.uint8 else x


KERNELS: Mapping[type, Callable[..., Array]] = {
    Add: _add,
    Concat: _concat,
    Conv2d: _conv2d,
    ConvTranspose: _conv_transpose,
    Depthwise: _as_convolution,
    Elementwise: _elementwise,
    Expand: _expand,
    Input: _input,
    Lookup: _lookup,
    Lrn: _lrn,
    Mul: _mul,
    Output: _output,
    Pool: _pool,
    Relu: _relu,
    Resize: _resize,
    ScaleShift: _scale_shift,
    Softmax: _softmax,
    Winograd: _as_convolution,
}
