import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.kernels.conv2d import Conv2d
from tests.network.kernels import reference

SETTINGS = settings(deadline=None, max_examples=5, derandomize=True, database=None)
DTYPES = [("float32", "float32"), ("float32", "uint8"), ("uint8", "uint8"), ("uint8", "float32")]


@st.composite
def kernels(draw, dtypes):
    size = st.integers(1, 9)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    height = draw(st.integers(max(1, kernel[0] - padding[0] - padding[2]), 9))
    width = draw(st.integers(max(1, kernel[1] - padding[1] - padding[3]), 20))
    channels = draw(size)
    return Conv2d(
        input_shape=(height, width, channels),
        output_channels=draw(st.one_of(st.integers(1, 40), st.sampled_from([16, 32, 64]))),
        kernel=kernel,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=padding,
        input_dtype=dtypes[0],
        output_dtype=dtypes[1],
        relu=draw(st.booleans()),
        selected=draw(st.integers(0, channels)),
    )


def sample(kernel, seed=0):
    """An input and parameters whose uint8 outputs fill their range."""
    rng = np.random.default_rng(seed)
    co, channels = kernel.output_channels, kernel.channels
    shape = (co, *kernel.kernel, channels)
    terms = np.sqrt(np.prod(shape[1:]))
    parameters = {"bias": rng.standard_normal(co).astype("f4")}
    if kernel.integer:
        x = rng.integers(0, 256, kernel.input_shape, dtype="u1")
        parameters["weight"] = rng.integers(-127, 128, shape, dtype="i1")
        parameters["zero_point"] = rng.integers(0, 256, 1, dtype="u1")
        terms *= 127 * 127
    else:
        x = rng.standard_normal(kernel.input_shape).astype("f4")
        parameters["weight"] = rng.standard_normal(shape).astype("f4")
    if kernel.scaled:
        parameters["scale"] = (rng.uniform(0.5, 1, co) * 60 / terms).astype("f4")
    if kernel.output_dtype == "uint8":
        parameters["bias"] = parameters["bias"] * 30 + np.float32(100)
    if kernel.selected:
        chosen = rng.permutation(kernel.input_shape[2])[: kernel.selected]
        parameters["index"] = chosen.astype("i4")
    return x, parameters


def assert_close(kernel, actual, expected):
    assert actual.dtype == kernel.output_dtype
    if kernel.output_dtype == "uint8":
        difference = np.abs(actual.astype("i4") - expected)
        # Halves may be rounded either way, since scale and bias are applied in float32; sums are exact.
        assert difference.max() <= 1
        assert (difference > 0).mean() <= 0.02
    else:
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("dtypes", DTYPES, ids=">".join)
def test_any_shape_agrees_with_numpy(compute, dtypes):
    @SETTINGS
    @given(kernels(dtypes))
    def agree(kernel):
        x, parameters = sample(kernel)
        assert_close(kernel, compute(kernel, x, parameters), reference.conv2d(kernel, x, parameters))

    agree()
