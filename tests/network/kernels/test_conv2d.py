from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.kernels.conv2d import Conv2d
from network.kernels.storage import LARGEST, PARAMETER
from tests.network.kernels import reference

SETTINGS = settings(deadline=None, max_examples=5, derandomize=True, database=None)
DTYPES = [("float32", "float32"), ("float32", "uint8"), ("uint8", "uint8"), ("uint8", "float32")]


@st.composite
def fields(draw, dtypes, dilations=1):
    """What every kernel with windows has: windows that fit, and an activation."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, dilations), st.integers(1, dilations)))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    height = draw(st.integers(max(1, reach[0] - padding[0] - padding[2]), 9))
    width = draw(st.integers(max(1, reach[1] - padding[1] - padding[3]), 20))
    relu = draw(st.booleans())
    return {
        "input_shape": (height, width, draw(st.integers(1, 9))),
        "kernel": kernel,
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": padding,
        "input_dtype": dtypes[0],
        "output_dtype": dtypes[1],
        "relu": relu,
        "dilation": dilation,
        "clip": draw(st.sampled_from([0.0, 1.5])) if relu and dtypes[1] == "float32" else 0.0,
    }


@st.composite
def kernels(draw, dtypes):
    drawn = draw(fields(dtypes))
    outputs = draw(st.one_of(st.integers(1, 40), st.sampled_from([16, 32, 64])))
    selected = draw(st.integers(0, drawn["input_shape"][2]))
    return Conv2d(**drawn, output_channels=outputs, selected=selected)


@st.composite
def grouped(draw, dtypes):
    """With dilated windows, and groups of one channel or several."""
    drawn, groups = draw(fields(dtypes, dilations=3)), draw(st.integers(1, 3))
    height, width, channels = drawn["input_shape"]
    drawn["input_shape"] = height, width, channels * groups
    return Conv2d(**drawn, output_channels=draw(st.integers(1, 20)) * groups, groups=groups)


@st.composite
def sheared(draw, dtypes):
    """With the padding that the windows of the lowest row of a block reach into."""
    shift, period = draw(st.sampled_from([(1, 2), (2, 2), (1, 3)]))
    drawn = draw(fields(dtypes, dilations=2))
    height, width, channels = drawn["input_shape"]
    top, left, bottom, right = drawn["padding"]
    drawn["input_shape"] = height + period * drawn["stride"][0], width, channels
    drawn["stride"] = drawn["stride"][0], period * shift * drawn["stride"][1]
    # The further padding must hold no further window of the rows that start first.
    reach = (drawn["kernel"][1] - 1) * drawn["dilation"][1] + 1
    beyond = (width + left + right - reach) % drawn["stride"][1]
    drawn["padding"] = top, left, bottom, right + max(0, shift * (period - 1) - beyond)
    return Conv2d(**drawn, output_channels=draw(st.integers(1, 40)), shear=(shift, period))


@st.composite
def stored(draw, dtypes, storage):
    kernel = draw(st.one_of(kernels(dtypes), grouped(dtypes)))
    return replace(kernel, storage=storage)


def stored_weight(rng, kernel, shape):
    """Unpacked weights whose floats are about as large as those of a kernel that stores floats."""
    if kernel.storage in LARGEST:
        largest = LARGEST[kernel.storage]
        return {"weight": rng.integers(-largest, largest + 1, shape, dtype="i1")}
    weight = rng.standard_normal(shape).astype("f4")
    return {"weight": (weight.view("u4") >> 16).astype("u2")}


def sample(kernel, seed=0):
    """An input and parameters whose uint8 outputs fill their range."""
    rng = np.random.default_rng(seed)
    co, channels = kernel.output_channels, kernel.channels // kernel.groups
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
        if kernel.storage:
            parameters |= stored_weight(rng, kernel, shape)
            terms *= LARGEST.get(kernel.storage, 1)
    if kernel.scaled:
        parameters["scale"] = (rng.uniform(0.5, 1, co) * 60 / terms).astype("f4")
    if kernel.output_dtype == "uint8":
        parameters["bias"] = parameters["bias"] * 30 + np.float32(100)
    parameters |= reference.floors(kernel)
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
        assert (difference > 0).sum() <= max(1, 0.02 * difference.size)
    else:
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("dtypes", DTYPES, ids=">".join)
@pytest.mark.parametrize("strategy", [kernels, grouped, sheared])
def test_any_shape_agrees_with_numpy(compute, strategy, dtypes):
    @SETTINGS
    @given(strategy(dtypes))
    def agree(kernel):
        x, parameters = sample(kernel)
        expected = reference.conv2d(kernel, x, parameters)
        assert_close(kernel, compute(kernel, x, parameters), expected)
        assert_close(kernel, reference.meaning(kernel, x, parameters), expected)

    agree()


@pytest.mark.parametrize("output", ["float32", "uint8"])
@pytest.mark.parametrize("storage", list(PARAMETER))
def test_stored_weights_are_decoded(compute, storage, output):
    @SETTINGS
    @given(stored(("float32", output), storage))
    def agree(kernel):
        x, parameters = sample(kernel)
        floats = floats_of(parameters["weight"], storage)
        expected = reference.conv2d(kernel, x, {**parameters, "weight": floats})
        assert_close(kernel, compute(kernel, x, parameters), expected)
        assert_close(kernel, reference.meaning(kernel, x, parameters), expected)

    agree()


def floats_of(weight, storage):
    """What numpy says that they are."""
    if storage == "bf16":
        return np.stack([np.zeros_like(weight), weight], axis=-1).view("f4")[..., 0]
    return weight


EXTREMES = [((1, 1, 500), (1, 1)), ((5, 7, 5), (3, 3)), ((9, 9, 17), (5, 5))]


@pytest.mark.parametrize(("shape", "window"), EXTREMES, ids=str)
@pytest.mark.parametrize("activation", [0, 255])
def test_integer_sums_are_exact_at_the_ends_of_their_range(compute, shape, window, activation):
    """Where a 16-bit sum would saturate or wrap; the sums themselves fit into float32."""
    kernel = Conv2d(shape, 9, window, (1, 1), (1, 1, 1, 1), "uint8", "float32", False)
    weight = np.full((9, *window, shape[2]), 127, "i1")
    weight[1::2] = -127
    weight[::3, :, :, ::2] *= -1
    parameters = {
        "weight": weight,
        "bias": np.zeros(9, "f4"),
        "scale": np.ones(9, "f4"),
        "zero_point": np.array([255 - activation], "u1"),
    }
    x = np.full(shape, activation, "u1")
    np.testing.assert_array_equal(compute(kernel, x, parameters), reference.conv2d(kernel, x, parameters))
