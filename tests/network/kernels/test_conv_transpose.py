import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.errors import NetworkError
from network.kernels.conv_transpose import ConvTranspose
from tests.network.kernels import onnx_operators, reference
from tests.network.kernels.test_conv2d import DTYPES, assert_close

SETTINGS = settings(deadline=None, max_examples=4, derandomize=True, database=None)


@st.composite
def kernels(draw, dtypes):
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    kernel = tuple(draw(st.integers(size, 4)) for size in stride)
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 9)))
    full = [(n - 1) * s + k for n, s, k in zip(size, stride, kernel, strict=True)]
    before = [draw(st.integers(0, min(2, each - 1))) for each in full]
    # ONNX's output_padding adds outputs at the end, fewer than a stride.
    after = [
        draw(st.integers(1 - step, min(2, each - crop - 1)))
        for each, crop, step in zip(full, before, stride, strict=True)
    ]
    relu = draw(st.booleans())
    return ConvTranspose(
        input_shape=(*size, draw(st.integers(1, 9))),
        output_channels=draw(st.one_of(st.integers(1, 40), st.sampled_from([16, 32]))),
        kernel=kernel,
        stride=stride,
        padding=(*before, *after),
        input_dtype=dtypes[0],
        output_dtype=dtypes[1],
        relu=relu,
        clip=draw(st.sampled_from([0.0, 1.5])) if relu and dtypes[1] == "float32" else 0.0,
    )


def sample(kernel):
    rng = np.random.default_rng(0)
    co, shape = kernel.output_channels, (kernel.output_channels, *kernel.kernel, kernel.channels)
    parameters = {"bias": rng.standard_normal(co).astype("f4")}
    terms = np.sqrt(np.prod(shape[1:]))
    if kernel.integer:
        x = rng.integers(0, 256, kernel.input_shape, dtype="u1")
        parameters["weight"] = rng.integers(-127, 128, shape, dtype="i1")
        parameters["zero_point"] = rng.integers(0, 256, 1, dtype="u1")
        terms *= 127 * 127
    else:
        x = rng.standard_normal(kernel.input_shape).astype("f4")
        parameters["weight"] = rng.standard_normal(shape).astype("f4")
    if "scale" in kernel.parameters():
        parameters["scale"] = (rng.uniform(0.5, 1, co) * 60 / terms).astype("f4")
    if kernel.output_dtype == "uint8":
        parameters["bias"] = parameters["bias"] * 30 + np.float32(100)
    parameters |= reference.floors(kernel)
    return x, parameters


def sums(kernel, x, parameters):
    """By ONNX Runtime; products of integers add up exactly in float32 too."""
    (top, left, bottom, right), added = kernel.padding, [max(0, -each) for each in kernel.padding[2:]]
    centred = x.astype("f4") - (np.float32(parameters["zero_point"][0]) if kernel.integer else 0)
    return onnx_operators.run(
        "ConvTranspose",
        centred.astype("f4"),
        [parameters["weight"].astype("f4").transpose(3, 0, 1, 2).copy()],
        strides=kernel.stride,
        pads=(top, left, max(0, bottom), max(0, right)),
        output_padding=added,
    )


@pytest.mark.parametrize("dtypes", DTYPES, ids=">".join)
def test_any_shape_agrees_with_onnx_runtime(compute, dtypes):
    @SETTINGS
    @given(kernels(dtypes))
    def agree(kernel):
        x, parameters = sample(kernel)
        expected = reference.finished(kernel, sums(kernel, x, parameters).astype("f8"), parameters)
        assert_close(kernel, compute(kernel, x, parameters), expected)
        assert_close(kernel, reference.meaning(kernel, x, parameters), expected)

    agree()


def test_a_kernel_smaller_than_its_stride_is_refused():
    with pytest.raises(NetworkError, match="every output must be reached"):
        ConvTranspose((4, 4, 3), 8, (1, 1), (2, 2), (0, 0, 0, 0), "float32", "float32", relu=False)
