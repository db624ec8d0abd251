"""From stages to kernels: what number formats share."""

from __future__ import annotations

import numpy as np

from network.approximations.method import Parameters
from network.approximations.stages import Convolve, Interpolate, Stage, Stages, last_convolve
from network.kernels.conv2d import Conv2d
from network.kernels.depthwise import Depthwise
from network.kernels.expand import Expand
from network.kernels.storage import Storage
from network.kernels.winograd import Winograd
from network.layers import DType
from network.quantization import QParams
from network.variants import Kernel


def kernels(
    stages: Stages, input_dtype: DType, output_dtype: DType, storage: Storage = "", *, rectifies: bool
) -> tuple[Kernel, ...]:
    """A kernel a stage; what reads ``input_dtype`` writes it too, up to the last convolution.

    Weights are stored as ``storage`` says, but for depthwise convolutions and Winograd's. Behind a ReLU the
    zero point mostly is 0, so that saturating is the ReLU: ``rectifies`` where it is not.
    """
    last = last_convolve(stages)
    return tuple(
        _kernel(stage, input_dtype, output_dtype if position >= last else input_dtype, storage, rectifies)
        for position, stage in enumerate(stages)
    )


def _kernel(
    stage: Stage, input_dtype: DType, output_dtype: DType, storage: Storage, rectifies: bool
) -> Kernel:
    relu = stage.relu and (output_dtype == "float32" or rectifies)
    if isinstance(stage, Interpolate):
        pattern = stage.pattern
        return Expand(stage.output_shape, pattern.rows, pattern.cols, output_dtype, relu, pattern.shift)
    clip = stage.limit if relu and output_dtype == "float32" else 0.0
    if stage.winograd:
        return Winograd(
            stage.input_shape,
            len(stage.weight),
            stage.padding,
            output_dtype,
            relu=relu,
            size=stage.winograd,
            clip=clip,
        )
    if stage.depthwise:
        return Depthwise(
            stage.input_shape,
            stage.kernel,
            stage.stride,
            stage.padding,
            input_dtype,
            output_dtype,
            relu=relu,
            dilation=stage.dilation,
            clip=clip,
        )
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
        dilation=stage.dilation,
        groups=stage.groups,
        clip=clip,
        shear=stage.shear,
        storage=storage,
    )


def completed(stage: Convolve, parameters: Parameters, output_dtype: DType, written: QParams) -> Parameters:
    """A convolution's parameters with its selection's index and its ReLU's floor, where it has these."""
    index = {} if stage.index is None else {"index": stage.index}
    rectified = stage.relu and output_dtype == "uint8"
    return {**parameters, **index, **(floor(written, len(stage.weight)) if rectified else {})}


def floor(written: QParams, size: int) -> Parameters:
    """What a ReLU clamps stored values to, where saturating does not do it already; so many times."""
    return {"floor": np.full(size, written.zero_point, np.float32)} if written.zero_point else {}


def interpolation(stage: Interpolate, dtype: DType, qparams: QParams) -> Parameters:
    """Of float32, or of uint8 values as they are stored."""
    coefficients = stage.coefficients
    if dtype == "uint8":
        coefficients = coefficients.copy()
        weights, constant = stage.coefficients[:, :4], stage.coefficients[:, 4]
        coefficients[:, 4] = constant / qparams.scale + qparams.zero_point * (1 - weights.sum(axis=1))
    return {"coefficients": coefficients}
