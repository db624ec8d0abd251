import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.errors import NetworkError
from network.kernels.pool import Pool
from tests.network.kernels import reference

SETTINGS = settings(deadline=None, max_examples=5, derandomize=True, database=None)


@st.composite
def kernels(draw, dtype, operator):
    """With sizes rounded up or down, as ONNX's ceil_mode has it."""
    window = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = tuple(draw(st.integers(0, size - 1)) for size in (*window, *window))
    sizes = [draw(st.integers(size, 9)) for size in window]
    output = []
    for axis in range(2):
        span = sizes[axis] + padding[axis] + padding[axis + 2] - window[axis]
        steps = span // stride[axis]
        reaches = (steps + 1) * stride[axis] - padding[axis] < sizes[axis]
        output.append(steps + 1 + (draw(st.booleans()) if reaches else 0))
    channels = draw(st.integers(1, 70))
    return Pool(
        input_shape=(*sizes, channels),
        output_shape=(*output, channels),
        operator=operator,
        kernel=window,
        stride=stride,
        padding=padding,
        dtype=dtype,
        count_include_pad=draw(st.booleans()),
    )


def sample(kernel, seed=0):
    rng = np.random.default_rng(seed)
    parameters = {"zero_point": np.array([77], "u1")} if kernel.counts_zero_points else {}
    if kernel.dtype == "uint8":
        return rng.integers(0, 256, kernel.input_shape, dtype="u1"), parameters
    return rng.standard_normal(kernel.input_shape).astype("f4"), parameters


@pytest.mark.parametrize("operator", ["max", "avg"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_any_window_agrees_with_numpy(compute, operator, dtype):
    @SETTINGS
    @given(kernels(dtype, operator))
    def agree(kernel):
        x, parameters = sample(kernel)
        expected = reference.pool(kernel, x, parameters)
        tolerance = 0 if dtype == "uint8" or operator == "max" else 1e-6
        np.testing.assert_allclose(compute(kernel, x, parameters), expected, rtol=0, atol=tolerance)

    agree()


def test_halves_are_rounded_to_even(compute):
    kernel = Pool((1, 2, 4), (1, 1, 4), "avg", (1, 2), (1, 2), (0, 0, 0, 0), "uint8", False)
    x = np.array([[[0, 1, 2, 254], [1, 2, 3, 255]]], "u1")
    assert compute(kernel, x, {}).tolist() == [[[0, 2, 2, 254]]]


def test_a_window_without_an_element_is_refused():
    with pytest.raises(NetworkError, match="every window must hold an element"):
        Pool((4, 4, 1), (5, 1, 1), "max", (2, 2), (2, 2), (0, 0, 0, 0), "float32", False)
