"""Functions of one number, softmax, and normalisation across channels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.errors import NetworkError
from network.kernels.elementwise import Elementwise
from network.kernels.lookup import Lookup
from network.kernels.lrn import Lrn
from network.kernels.softmax import Softmax
from network.quantization import QParams
from network.unary import FUNCTIONS, Unary, lookup_table
from tests.network.kernels import onnx_operators, reference
from tests.network.kernels.test_elementwise import SHAPES, random

SETTINGS = settings(deadline=None, max_examples=3, derandomize=True, database=None)
UNARY = {
    "affine": ((0.5, -3.0), lambda x: x * 0.5 - 3),
    "clip": ((-1.0, 6.0), lambda x: x.clip(-1, 6)),
    "elu": ((1.5,), lambda x: np.where(x > 0, x, 1.5 * np.expm1(x))),
    "hard_sigmoid": ((0.2, 0.5), lambda x: (x * 0.2 + 0.5).clip(0, 1)),
    "hard_swish": ((), lambda x: x * (x + 3).clip(0, 6) / 6),
    "leaky_relu": ((0.01,), lambda x: np.where(x > 0, x, 0.01 * x)),
    "sigmoid": ((), lambda x: 1 / (1 + np.exp(-x))),
    "silu": ((), lambda x: x / (1 + np.exp(-x))),
    "tanh": ((), np.tanh),
}
EDGES = (0.0, -0.0, 88.0, -88.0, 200.0, -200.0, 1e-20, 700.0)


def test_every_function_is_tested():
    assert set(UNARY) == set(FUNCTIONS)


@pytest.mark.parametrize("name", UNARY)
def test_functions(compute, name):
    constants, exact = UNARY[name]
    x = np.concatenate([np.linspace(-90, 90, 4001), np.linspace(-3, 3, 4001), EDGES]).astype("f4")
    x = x.reshape(1, -1, 1)
    kernel = Elementwise(x.shape, (Unary(name, constants),))
    with np.errstate(over="ignore"):
        expected = exact(x.astype("f8"))
    np.testing.assert_allclose(compute(kernel, x, {}), expected, rtol=1e-6, atol=3e-7)
    np.testing.assert_allclose(reference.meaning(kernel, x, {}), expected, rtol=1e-6, atol=3e-7)


def test_a_chain_is_applied_in_order(compute):
    @SETTINGS
    @given(SHAPES)
    def agree(shape):
        chain = (Unary("affine", (2.0, 1.0)), Unary("sigmoid"), Unary("affine", (-1.0, 0.0)))
        x = random(shape, "float32")
        expected = -1 / (1 + np.exp(-(2 * x.astype("f8") + 1)))
        np.testing.assert_allclose(compute(Elementwise(shape, chain), x, {}), expected, rtol=1e-6)

    agree()


def test_an_unknown_function_is_refused():
    with pytest.raises(NetworkError, match="use one of affine, clip"):
        Unary("sinh")


def test_missing_constants_are_refused():
    with pytest.raises(NetworkError, match=r"takes the constants \(low, high\)"):
        Unary("clip", (1.0,))


def test_lookup_is_the_quantized_function(compute):
    reads, writes = QParams(0.05, 100), QParams(0.004, 3)
    table = lookup_table((Unary("sigmoid"),), reads, writes)

    @SETTINGS
    @given(SHAPES)
    def agree(shape):
        x = random(shape, "uint8")
        real = 1 / (1 + np.exp(-0.05 * (x.astype("f8") - 100)))
        expected = reference.to_uint8(real / 0.004 + 3)
        np.testing.assert_array_equal(compute(Lookup(shape), x, {"table": table}), expected)
        np.testing.assert_array_equal(reference.meaning(Lookup(shape), x, {"table": table}), expected)

    agree()


def test_softmax(compute):
    @SETTINGS
    @given(SHAPES, st.sampled_from([1.0, 300.0]))
    def agree(shape, spread):
        x = random(shape, "float32") * np.float32(spread)
        powers = np.exp(x.astype("f8") - x.max(axis=2, keepdims=True))
        expected = powers / powers.sum(axis=2, keepdims=True)
        np.testing.assert_allclose(compute(Softmax(shape), x, {}), expected, rtol=2e-5, atol=1e-7)
        np.testing.assert_allclose(reference.meaning(Softmax(shape), x, {}), expected, rtol=2e-5, atol=1e-7)

    agree()


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_lrn(compute, size, beta):
    x = random((3, 4, 37), "float32") * 20
    kernel = Lrn(x.shape, size, alpha=0.1, beta=beta, bias=2.0)
    expected = onnx_operators.run("LRN", x, size=size, alpha=0.1, beta=beta, bias=2.0)
    np.testing.assert_allclose(compute(kernel, x, {}), expected, rtol=2e-5)
    np.testing.assert_allclose(reference.meaning(kernel, x, {}), expected, rtol=2e-5)
