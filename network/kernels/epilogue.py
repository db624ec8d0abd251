"""What is done to a sum before it is stored: scale, bias, then the rectifier or rounding to uint8."""

from __future__ import annotations

from typing import Any

from network.kernels.parameters import check
from network.layers import DType
from network.variants import TensorSpec


def suffix(relu: bool, clip: float) -> str:
    """The part of a key that tells activations apart; empty where there is none."""
    return (" relu" if relu else "") + (f" clip{clip:g}" if clip else "")


def floors(channels: int, relu: bool, output_dtype: DType) -> dict[str, TensorSpec]:
    """The parameter ``floor`` of a kernel that rectifies to uint8: the stored value that stands for zero.

    One a channel as scale and bias are, all the same: a single one would take a register of the inner loop.
    """
    return {"floor": TensorSpec((channels,), "float32")} if relu and output_dtype == "uint8" else {}


def check_clip(owner: str, relu: bool, clip: float, output_dtype: DType) -> None:
    """Raise NetworkError unless ``clip`` (0: none) bounds a float32 rectifier."""
    fits = clip == 0 or (clip > 0 and relu and output_dtype == "float32")
    check(owner, fits, "clip bounds a float32 relu; leave it out for uint8, which saturates at its range")


def finished(
    value: Any,
    channel: Any,
    lanes: int,
    *,
    scale: Any,
    bias: Any,
    output_dtype: DType,
    relu: bool,
    clip: float,
    floor: Any = None,
) -> Any:
    """``value * scale + bias`` of ``lanes`` floats from ``channel`` on, as it is stored.

    ``scale`` is None where nothing is scaled; ``floor`` holds what stands for zero behind a relu to uint8.
    """
    from network.kernels import emit

    if scale is not None:
        value = value * emit.load(scale, channel, lanes=lanes)
    lowest = None if floor is None else emit.load(floor, channel, lanes=lanes)
    return stored(value + emit.load(bias, channel, lanes=lanes), lanes, output_dtype, relu, clip, lowest)


def stored(value: Any, lanes: int, output_dtype: DType, relu: bool, clip: float, lowest: Any = None) -> Any:
    """Floats with their activation, or rounded to uint8 from ``lowest`` on."""
    from network.kernels import emit

    if output_dtype == "uint8":
        return emit.to_uint8(value, lanes, lowest)
    value = emit.relu(value, "float32", lanes) if relu else value
    return emit.minimum(value, emit.constant(clip, "float32", lanes)) if clip else value
