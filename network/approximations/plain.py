"""Layers without weights (and transposed convolutions): the kernels of each form, and their parameters.

What moves or compares values works on uint8 as it does on float32. What computes with them in float32 alone
(local response, softmax, products) is put between conversions, so that int8 reaches beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.approximations.context import Context
from network.approximations.lowering import floor
from network.approximations.method import Parameters
from network.kernels.add import Add
from network.kernels.concat import Concat
from network.kernels.conv_transpose import ConvTranspose
from network.kernels.elementwise import Elementwise
from network.kernels.input import Input
from network.kernels.lookup import Lookup
from network.kernels.lrn import Lrn
from network.kernels.mul import Mul
from network.kernels.opaque import Opaque
from network.kernels.output import Output
from network.kernels.pool import Pool
from network.kernels.relu import Relu
from network.kernels.resize import Resize
from network.kernels.scale_shift import ScaleShift
from network.kernels.softmax import Softmax
from network.layers import DType, Layer
from network.quantization import LEVELS, QParams, quantize_weight
from network.unary import Unary, lookup_table
from network.variants import Kernel

CHANNELWISE = {"max_pool", "avg_pool", "relu", "resize", "unary"}
"""Operators that make each channel of their output from the same one of their one input."""
EPILOGUES = {"add", "conv_transpose"}
"""Operators that write either element type, whatever they read."""
FLOAT = {"lrn", "mul", "opaque", "softmax"}
"""Operators that compute in float32 only."""


def kernels(layer: Layer, reads: DType, writes: DType, written: QParams) -> tuple[Kernel, ...] | None:
    """What computes the layer from and to these element types; None where nothing does."""
    if layer.op in EPILOGUES and writes == "uint8":
        layer = replace(layer, relu=rectifies(layer, written), limit=0.0)
    if layer.op == "input":
        height, width, channels = layer.output_shape
        # One channel is in NHWC order already: reading it is free.
        return () if writes == "float32" and channels == 1 else (Input((channels, height, width), writes),)
    if layer.op == "output":
        return (Output(layer.output_shape, reads),)
    if layer.op in FLOAT:
        return _between_conversions(layer, reads, writes)
    if reads != writes and layer.op not in EPILOGUES:
        return None
    return (KERNELS[layer.op](layer, reads, writes),)


def parameters(layer: Layer, context: Context, kernel: Kernel) -> Parameters:
    """Of one of those kernels."""
    make = PARAMETERS.get(type(kernel))
    return make(kernel, layer, context) if make else {}


def storable(layer: Layer, written: QParams) -> bool:
    """Whether uint8 saturates where a fused activation's limit does, which kernels leave to it.

    Not so where a tensor shares its range with others, which is calibrated on all of them.
    """
    (highest,) = written.dequantize(np.array([LEVELS], np.uint8))
    return layer.op == "relu" or bool(highest <= (1 + 1e-6) * (layer.limit or inf))


def rectifies(layer: Layer, written: QParams) -> bool:
    """Whether a fused ReLU to uint8 has anything to do: behind a ReLU alone the zero point is 0."""
    return layer.relu and written.zero_point != 0


def vector(value: float, dtype: Any) -> NDArray[Any]:
    """A parameter with one value."""
    return np.array([value], dtype)


def _between_conversions(layer: Layer, reads: DType, writes: DType) -> tuple[Kernel, ...] | None:
    if reads == "uint8" and len(layer.inputs) > 1:
        return None
    before = ScaleShift(layer.input_shape, "uint8", "float32", relu=False)
    behind = ScaleShift(layer.output_shape, "float32", "uint8", relu=False)
    kernel = KERNELS[layer.op](layer, "float32", "float32")
    return (
        *([before] if reads == "uint8" else []),
        kernel,
        *([behind] if writes == "uint8" else []),
    )


def _relu(layer: Layer, reads: DType, writes: DType) -> Kernel:
    if layer.limit:
        return _function(layer, reads, writes)
    return Relu(layer.output_shape, writes)


def _function(layer: Layer, reads: DType, writes: DType) -> Kernel:  # noqa: ARG001 - the signature of all
    if writes == "uint8":
        return Lookup(layer.output_shape)
    return Elementwise(layer.output_shape, _chain(layer))


def _chain(layer: Layer) -> tuple[Unary, ...]:
    if layer.op == "relu":
        return (Unary("clip", (0.0, layer.limit)),)
    chain: tuple[Unary, ...] = layer.settings["functions"]
    return chain


def _pool(layer: Layer, reads: DType, writes: DType) -> Kernel:  # noqa: ARG001
    return Pool(
        layer.input_shape,
        layer.output_shape,
        operator="max" if layer.op == "max_pool" else "avg",
        kernel=layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        dtype=writes,
        count_include_pad=layer.count_include_pad,
    )


def _add(layer: Layer, reads: DType, writes: DType) -> Kernel:
    return Add(layer.output_shape, reads, writes, relu=layer.relu, clip=layer.limit)


def _mul(layer: Layer, reads: DType, writes: DType) -> Kernel:  # noqa: ARG001
    return Mul(layer.output_shape, per_channel=layer.settings["per_channel"])


def _concat(layer: Layer, reads: DType, writes: DType) -> Kernel:  # noqa: ARG001
    height, width, _ = layer.output_shape
    return Concat((height, width), layer.settings["channels"], writes)


def _resize(layer: Layer, reads: DType, writes: DType) -> Kernel:  # noqa: ARG001
    return Resize(layer.input_shape, layer.output_shape, dtype=writes, **layer.settings)


def _lrn(layer: Layer, reads: DType, writes: DType) -> Kernel:  # noqa: ARG001
    return Lrn(layer.output_shape, **layer.settings)


def _softmax(layer: Layer, reads: DType, writes: DType) -> Kernel:  # noqa: ARG001
    return Softmax(layer.output_shape)


def _opaque(layer: Layer, reads: DType, writes: DType) -> Kernel:  # noqa: ARG001
    kernel: Kernel = layer.settings["kernel"]
    return kernel


def _conv_transpose(layer: Layer, reads: DType, writes: DType) -> Kernel:
    (height, width, _), (rows, columns, channels) = layer.input_shape, layer.output_shape
    top, left, _, _ = layer.padding
    bottom = (height - 1) * layer.stride[0] + layer.kernel[0] - top - rows
    right = (width - 1) * layer.stride[1] + layer.kernel[1] - left - columns
    return ConvTranspose(
        layer.input_shape,
        channels,
        layer.kernel,
        layer.stride,
        (top, left, bottom, right),
        reads,
        writes,
        relu=layer.relu,
        clip=layer.limit,
    )


KERNELS: Mapping[str, Callable[[Layer, DType, DType], Kernel]] = {
    "add": _add,
    "avg_pool": _pool,
    "concat": _concat,
    "conv_transpose": _conv_transpose,
    "lrn": _lrn,
    "max_pool": _pool,
    "mul": _mul,
    "opaque": _opaque,
    "relu": _relu,
    "resize": _resize,
    "softmax": _softmax,
    "unary": _function,
}


def _of_input(kernel: Input, layer: Layer, context: Context) -> Parameters:  # noqa: ARG001
    if kernel.output_dtype == "float32":
        return {}
    written = context.output_qparams
    scale, zero_point = vector(1 / written.scale, np.float32), vector(written.zero_point, np.float32)
    return {"scale": scale, "zero_point": zero_point}


def _of_opaque(kernel: Opaque, layer: Layer, context: Context) -> Parameters:  # noqa: ARG001
    return kernel.lowered.constants


def _of_output(kernel: Output, layer: Layer, context: Context) -> Parameters:  # noqa: ARG001
    if kernel.input_dtype == "float32":
        return {}
    read = context.input_qparams
    return {
        "scale": vector(read.scale, np.float32),
        "bias": vector(-read.scale * read.zero_point, np.float32),
    }


def _of_zero(kernel: Pool | Relu, layer: Layer, context: Context) -> Parameters:  # noqa: ARG001
    """What stands for zero, where the kernel wants to know."""
    zero_point = vector(context.output_qparams.zero_point, np.uint8)
    return dict.fromkeys(kernel.parameters(), zero_point)


def _of_add(kernel: Add, layer: Layer, context: Context) -> Parameters:  # noqa: ARG001
    if not kernel.scaled:
        return {}
    factors = [1.0] * len(context.read)
    bias = 0.0
    if kernel.input_dtype == "uint8":
        factors = [each.scale for each in context.read]
        bias = -sum(each.scale * each.zero_point for each in context.read)
    if kernel.output_dtype == "uint8":
        written = context.output_qparams
        factors = [each / written.scale for each in factors]
        bias = bias / written.scale + written.zero_point
    found = {"scale": np.array(factors, np.float32), "bias": vector(bias, np.float32)}
    return {**found, **_floor(kernel, context)}


def _of_lookup(kernel: Lookup, layer: Layer, context: Context) -> Parameters:  # noqa: ARG001
    return {"table": lookup_table(_chain(layer), context.input_qparams, context.output_qparams)}


def _of_conversion(kernel: ScaleShift, layer: Layer, context: Context) -> Parameters:  # noqa: ARG001
    if kernel.output_dtype == "uint8":
        written = context.output_qparams
        scale, bias = 1 / written.scale, float(written.zero_point)
    else:
        read = context.input_qparams
        scale, bias = read.scale, -read.scale * read.zero_point
    size = kernel.shape[2]
    return {"scale": np.full(size, scale, np.float32), "bias": np.full(size, bias, np.float32)}


def _of_transpose(kernel: ConvTranspose, layer: Layer, context: Context) -> Parameters:
    bias = np.zeros(kernel.output_channels) if layer.bias is None else layer.bias.astype(np.float64)
    if not kernel.integer and kernel.output_dtype == "float32":
        return {"weight": layer.filters, "bias": bias.astype(np.float32)}
    found: dict[str, NDArray[Any]] = {"weight": layer.filters}
    scale = np.ones(len(bias))
    if kernel.integer:
        weight = quantize_weight(layer.filters)
        scale = weight.scale.astype(np.float64) * context.input_qparams.scale
        found = {"weight": weight.values, "zero_point": vector(context.input_qparams.zero_point, np.uint8)}
    if kernel.output_dtype == "uint8":
        written = context.output_qparams
        scale, bias = scale / written.scale, bias / written.scale + written.zero_point
    found |= {"scale": scale.astype(np.float32), "bias": bias.astype(np.float32)}
    return {**found, **_floor(kernel, context)}


def _floor(kernel: Add | ConvTranspose, context: Context) -> Parameters:
    if not (kernel.relu and kernel.output_dtype == "uint8"):
        return {}
    return floor(context.output_qparams, *kernel.parameters()["floor"].shape)


PARAMETERS: Mapping[type, Callable[[Any, Layer, Context], Parameters]] = {
    Add: _of_add,
    ConvTranspose: _of_transpose,
    Input: _of_input,
    Lookup: _of_lookup,
    Opaque: _of_opaque,
    Output: _of_output,
    Pool: _of_zero,
    Relu: _of_zero,
    ScaleShift: _of_conversion,
}
"""Of those kernels that take any."""
