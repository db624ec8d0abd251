"""From stages and plain layers to kernels: what both number formats share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.approximations.method import Parameters
from network.approximations.stages import Convolve, Interpolate, Stage, Stages, last_convolve
from network.kernels.conv2d import Conv2d
from network.kernels.expand import Expand
from network.kernels.input import Input
from network.kernels.pool import Pool
from network.kernels.relu import Relu
from network.layers import DType, Layer
from network.quantization import QParams
from network.variants import Kernel


def kernels(stages: Stages, input_dtype: DType, output_dtype: DType) -> tuple[Kernel, ...]:
    """A kernel a stage; what reads ``input_dtype`` writes it too, up to the last convolution."""
    last = last_convolve(stages)
    return tuple(
        _kernel(stage, input_dtype, output_dtype if position >= last else input_dtype)
        for position, stage in enumerate(stages)
    )


def _kernel(stage: Stage, input_dtype: DType, output_dtype: DType) -> Kernel:
    # Behind a ReLU the zero point is 0, so that saturating is the ReLU.
    relu = stage.relu and output_dtype == "float32"
    if isinstance(stage, Interpolate):
        return Expand(stage.output_shape, stage.rows, stage.cols, output_dtype, relu)
    return Conv2d(
        stage.input_shape,
        len(stage.weight),
        stage.kernel,
        stage.stride,
        stage.padding,
        input_dtype,
        output_dtype,
        relu=relu,
        selected=0 if stage.index is None else len(stage.index),
    )


def selecting(stage: Convolve, parameters: Parameters) -> Parameters:
    """A convolution's parameters with, where it selects channels, their index."""
    return parameters if stage.index is None else {**parameters, "index": stage.index}


def interpolation(stage: Interpolate, dtype: DType, qparams: QParams) -> Parameters:
    """Of float32, or of uint8 values as they are stored."""
    coefficients = stage.coefficients
    if dtype == "uint8":
        coefficients = coefficients.copy()
        weights, constant = stage.coefficients[:, :4], stage.coefficients[:, 4]
        coefficients[:, 4] = constant / qparams.scale + qparams.zero_point * (1 - weights.sum(axis=1))
    return {"coefficients": coefficients}


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
