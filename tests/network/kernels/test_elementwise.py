"""The kernels without windows: input, output, relu, expand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.kernels.expand import Expand
from network.kernels.input import Input
from network.kernels.output import Output
from network.kernels.relu import Relu
from tests.network.kernels import reference

SETTINGS = settings(deadline=None, max_examples=4, derandomize=True, database=None)
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(1, 40))


def random(shape, dtype):
    rng = np.random.default_rng(0)
    if dtype == "uint8":
        return rng.integers(0, 256, shape, dtype="u1")
    return rng.standard_normal(shape).astype("f4")


def test_input_moves_channels_last(compute):
    @SETTINGS
    @given(SHAPES)
    def agree(shape):
        x = random(shape, "float32")
        np.testing.assert_array_equal(compute(Input(shape, "float32"), x, {}), x.transpose(1, 2, 0))

    agree()


def test_input_quantizes(compute):
    @SETTINGS
    @given(SHAPES)
    def agree(shape):
        x = random(shape, "float32") * 3
        parameters = {"scale": np.array([37.5], "f4"), "zero_point": np.array([100], "f4")}
        expected = reference.to_uint8(x.transpose(1, 2, 0) * np.float32(37.5) + np.float32(100))
        difference = np.abs(compute(Input(shape, "uint8"), x, parameters) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.02

    agree()


def test_input_saturates(compute):
    x = np.array([-1e9, -1, 0.5, 1.5, 254.5, 1e9], "f4").reshape(1, 1, 6)
    parameters = {"scale": np.array([1], "f4"), "zero_point": np.array([0], "f4")}
    actual = compute(Input((1, 1, 6), "uint8"), x, parameters)
    assert actual.ravel().tolist() == [0, 0, 0, 2, 254, 255]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_output_moves_channels_first(compute, dtype):
    @SETTINGS
    @given(SHAPES)
    def agree(shape):
        x, parameters, expected = random(shape, dtype), {}, random(shape, dtype)
        if dtype == "uint8":
            parameters = {"scale": np.array([0.3], "f4"), "bias": np.array([-7], "f4")}
            expected = x.astype("f4") * np.float32(0.3) - np.float32(7)
        actual = compute(Output(shape, dtype), x, parameters)
        np.testing.assert_allclose(actual, expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-5)

    agree()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_relu(compute, dtype):
    @SETTINGS
    @given(SHAPES)
    def agree(shape):
        x = random(shape, dtype)
        zero = np.array([90], "u1")
        parameters = {"zero_point": zero} if dtype == "uint8" else {}
        expected = np.maximum(x, zero[0] if parameters else 0)
        np.testing.assert_array_equal(compute(Relu(shape, dtype), x, parameters), expected)

    agree()


PATTERNS = st.one_of(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(0)),
    st.sampled_from([(2, 2, 1), (3, 3, 1), (2, 4, 2), (2, 3, 1)]),
)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_expand(compute, dtype):
    @SETTINGS
    @given(SHAPES, PATTERNS, st.booleans())
    def agree(shape, pattern, relu):
        rows, cols, shift = pattern
        kernel = Expand(shape, rows, cols, dtype, relu, shift)
        # What is computed has its relu.
        grid = np.abs(random(kernel.grid_shape, dtype))
        coefficients = np.random.default_rng(1).uniform(-0.4, 0.8, (rows * cols, 5, shape[2])).astype("f4")
        parameters = {"coefficients": coefficients}
        expected = reference.expand(kernel, grid, parameters)
        meant = reference.meaning(kernel, grid, parameters)
        assert np.abs(meant.astype("f8") - expected).max() <= (1 if dtype == "uint8" else 1e-4)
        difference = np.abs(compute(kernel, grid, parameters) - expected)
        assert difference.max() <= (1 if dtype == "uint8" else 1e-4)
        assert dtype == "float32" or (difference > 0).mean() < 0.02

    agree()
