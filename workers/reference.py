"""The kernel that speeds are compared by: in every library, and in every fingerprint."""

from __future__ import annotations

from network.kernels.conv2d import Conv2d
from network.layers import DType


def reference_kernel(dtype: DType = "float32") -> Conv2d:
    """A convolution of 2.4 million multiply-adds that stays in the first caches."""
    return Conv2d(
        input_shape=(18, 18, 32),
        output_channels=32,
        kernel=(3, 3),
        stride=(1, 1),
        padding=(0, 0, 0, 0),
        input_dtype=dtype,
        output_dtype="float32",
        relu=False,
    )
