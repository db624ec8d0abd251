"""From stages and plain layers to kernels: what both number formats share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.approximations.stages import Convolve, Interpolate, Stages
from network.kernels.conv2d import Conv2d
from network.kernels.expand import Expand
from network.kernels.input import Input
from network.kernels.pool import Pool
from network.kernels.relu import Relu
from network.layers import DType, Layer
from network.quantization import QParams
from network.variants import Kernel, Step


def last_convolve(stages: Stages) -> int:
    """Position of the convolution that writes the layer's output element type."""
    return max(position for position, stage in enumerate(stages) if isinstance(stage, Convolve))


def conv2d(
    stage: Convolve, input_dtype: DType, output_dtype: DType, parameters: Mapping[str, NDArray[Any]]
) -> Step:
    """A convolution's kernel with its parameters and, where channels are selected, their index."""
    kernel = Conv2d(
        stage.input_shape,
        len(stage.weight),
        (stage.weight.shape[1], stage.weight.shape[2]),
        stage.stride,
        stage.padding,
        input_dtype,
        output_dtype,
        # Behind a ReLU the zero point is 0, so that saturating is the ReLU.
        relu=stage.relu and output_dtype == "float32",
        selected=0 if stage.index is None else len(stage.index),
    )
    index = {} if stage.index is None else {"index": stage.index}
    return Step(kernel, {**parameters, **index})


def interpolate(stage: Interpolate, dtype: DType, qparams: QParams) -> Step:
    """Interpolation of float32, or of uint8 values as they are stored."""
    coefficients = stage.coefficients
    if dtype == "uint8":
        coefficients = coefficients.copy()
        weights, constant = stage.coefficients[:, :4], stage.coefficients[:, 4]
        coefficients[:, 4] = constant / qparams.scale + qparams.zero_point * (1 - weights.sum(axis=1))
    kernel = Expand(stage.output_shape, stage.rows, stage.cols, dtype, stage.relu and dtype == "float32")
    return Step(kernel, {"coefficients": coefficients})


def plain_kernel(layer: Layer, dtype: DType) -> Kernel:
    """The kernel of a layer without weights that writes this element type."""
    if layer.op == "input":
        height, width, channels = layer.output_shape
        return Input((channels, height, width), dtype)
    if layer.op == "relu":
        return Relu(layer.output_shape, dtype)
    return Pool(
        layer.input_shape,
        layer.output_shape,
        operator="max" if layer.op == "max_pool" else "avg",
        kernel=layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        dtype=dtype,
        count_include_pad=layer.count_include_pad,
    )


def vector(value: float, dtype: Any) -> NDArray[Any]:
    """A parameter with one value."""
    return np.array([value], dtype)
