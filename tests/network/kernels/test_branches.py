"""Where branches of a network meet: sums, products and concatenations, and what stands between them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.kernels.add import Add
from network.kernels.concat import Concat
from network.kernels.mul import Mul
from network.kernels.scale_shift import ScaleShift
from tests.network.kernels import reference
from tests.network.kernels.test_conv2d import DTYPES, assert_close
from tests.network.kernels.test_elementwise import SHAPES

SETTINGS = settings(deadline=None, max_examples=3, derandomize=True, database=None)


def random(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    if dtype == "uint8":
        return rng.integers(0, 256, shape, dtype="u1")
    return rng.standard_normal(shape).astype("f4")


@st.composite
def activations(draw, dtypes):
    relu = draw(st.booleans())
    clip = draw(st.sampled_from([0.0, 1.5])) if relu and dtypes[1] == "float32" else 0.0
    return {"input_dtype": dtypes[0], "output_dtype": dtypes[1], "relu": relu, "clip": clip}


def assert_computes(compute, kernel, x, parameters, expected):
    assert_close(kernel, compute(kernel, x, parameters), expected)
    assert_close(kernel, reference.meaning(kernel, x, parameters), expected)


@pytest.mark.parametrize("dtypes", DTYPES, ids=">".join)
def test_add(compute, dtypes):
    @SETTINGS
    @given(SHAPES, activations(dtypes))
    def agree(shape, fields):
        kernel = Add(shape, **fields)
        a, b = random(shape, dtypes[0], 0), random(shape, dtypes[0], 1)
        scale, bias = np.array([0.3137, 0.7071], "f4"), np.array([7.3], "f4")
        if not kernel.scaled:
            total, parameters = a.astype("f8") + b, {}
        else:
            total = a * scale[0].astype("f8") + b * scale[1].astype("f8")
            parameters = {"scale": scale, "bias": bias} | reference.floors(kernel)
        bias = parameters.get("bias", np.zeros(1))
        expected = reference.finished(kernel, total, {"bias": bias} | reference.floors(kernel))
        assert_computes(compute, kernel, (a, b), parameters, expected)

    agree()


def test_a_sum_of_uint8_is_exact(compute):
    """Every pair of values there is, with factors that float32 holds exactly."""
    a, b = (each.astype("u1").reshape(256, 256, 1) for each in np.mgrid[:256, :256])
    kernel = Add((256, 256, 1), "uint8", "uint8", relu=False)
    parameters = {"scale": np.array([0.5, 0.75], "f4"), "bias": np.array([-20.25], "f4")}
    expected = reference.to_uint8(a * 0.5 + b * 0.75 - 20.25)
    np.testing.assert_array_equal(compute(kernel, (a, b), parameters), expected)
    np.testing.assert_array_equal(reference.meaning(kernel, (a, b), parameters), expected)


@pytest.mark.parametrize("dtypes", DTYPES, ids=">".join)
def test_scale_shift(compute, dtypes):
    @SETTINGS
    @given(SHAPES, activations(dtypes))
    def agree(shape, fields):
        kernel = ScaleShift(shape, **fields)
        x, scale, bias = (
            random(shape, dtypes[0], 0),
            *(random(shape[2:], "float32", seed) for seed in (1, 2)),
        )
        parameters = {"scale": scale, "bias": bias} | reference.floors(kernel)
        assert_computes(compute, kernel, x, parameters, reference.finished(kernel, x, parameters))

    agree()


@pytest.mark.parametrize("per_channel", [False, True])
def test_mul(compute, per_channel):
    @SETTINGS
    @given(SHAPES)
    def agree(shape):
        a = random(shape, "float32", 0)
        b = random((1, 1, shape[2]) if per_channel else shape, "float32", 1)
        kernel = Mul(shape, per_channel)
        np.testing.assert_array_equal(compute(kernel, (a, b), {}), a * b)
        np.testing.assert_array_equal(reference.meaning(kernel, (a, b), {}), a * b)

    agree()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_concat(compute, dtype):
    @SETTINGS
    @given(SHAPES, st.lists(st.integers(1, 70), min_size=1, max_size=4))
    def agree(shape, channels):
        kernel = Concat(shape[:2], tuple(channels), dtype)
        xs = tuple(random((*shape[:2], each), dtype, seed) for seed, each in enumerate(channels))
        expected = np.concatenate(xs, axis=2)
        np.testing.assert_array_equal(compute(kernel, xs, {}), expected)
        np.testing.assert_array_equal(reference.meaning(kernel, xs, {}), expected)

    agree()
