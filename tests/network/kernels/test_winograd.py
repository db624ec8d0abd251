import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.build import build_library
from network.errors import NetworkError
from network.kernels.winograd import TRANSFORMS, Winograd
from network.target import Target
from tests.network.kernels import reference
from tests.network.kernels.test_conv2d import sample

SETTINGS = settings(deadline=None, max_examples=5, derandomize=True, database=None)


@st.composite
def kernels(draw, size, output_dtype):
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    height = draw(st.integers(max(1, size + 2 - padding[0] - padding[2]), 19))
    width = draw(st.integers(max(1, size + 2 - padding[1] - padding[3]), 19))
    relu = draw(st.booleans())
    return Winograd(
        input_shape=(height, width, draw(st.integers(1, 40))),
        output_channels=draw(st.one_of(st.integers(1, 40), st.sampled_from([16, 32, 64]))),
        padding=padding,
        output_dtype=output_dtype,
        relu=relu,
        size=size,
        clip=draw(st.sampled_from([0.0, 1.5])) if relu and output_dtype == "float32" else 0.0,
    )


@pytest.mark.parametrize("size", TRANSFORMS)
@pytest.mark.parametrize("output_dtype", ["float32", "uint8"])
def test_any_shape_is_convolved(compute, size, output_dtype):
    @SETTINGS
    @given(kernels(size, output_dtype))
    def agree(kernel):
        x, parameters = sample(kernel.convolution)
        expected = reference.conv2d(kernel.convolution, x, parameters)
        actual = compute(kernel, x, parameters)
        assert actual.dtype == output_dtype
        if output_dtype == "uint8":
            assert np.abs(actual.astype("i4") - expected).max() <= 1
        else:
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=5e-6 * np.abs(expected).max() + 1e-4)
        np.testing.assert_allclose(reference.meaning(kernel, x, parameters), expected, rtol=1e-4, atol=1)

    agree()


@pytest.mark.parametrize("size", TRANSFORMS)
def test_every_tile_computes_the_same(size, tmp_path):
    """Portions that do not divide the tiles are moved back, and so are tiles at the edges."""
    from tvm.runtime import empty, load_module, tensor

    target = Target.host()
    kernel = Winograd((13, 11, 24), 40, (1, 1, 1, 1), "float32", True, size)
    x, parameters = sample(kernel.convolution)
    expected = reference.conv2d(kernel.convolution, x, parameters)
    tiles = [(1, 1, 1), (5, 5, 1), (6, 3, 1), *kernel.tiles(target.isa)]
    built = build_library([(kernel, tile) for tile in tiles], target, tmp_path / "tiles.so")
    assert not built.failures
    library = load_module(str(built.path))
    *_, result = kernel.arguments(target.isa)
    arguments = [tensor(each) for each in (x.reshape(13, -1), *kernel.pack(target.isa, parameters))]
    for symbol in built.symbols.values():
        y = empty(result.shape, result.dtype)
        library[symbol](*arguments, y)
        actual = y.numpy().reshape(kernel.output_shape)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_products_are_fewer():
    isa = Target.host().isa
    for size, products in ((2, 16 / 4), (4, 36 / 16)):
        kernel = Winograd((32, 32, 16), 32, (1, 1, 1, 1), "float32", True, size)
        assert kernel.work(isa).macs * 9 == kernel.convolution.work(isa).macs * products


def test_an_output_smaller_than_a_tile_is_refused():
    with pytest.raises(NetworkError, match="take a smaller one or Conv2d"):
        Winograd((3, 9, 8), 8, (1, 1, 1, 1), "float32", False, 4)
    with pytest.raises(NetworkError, match="tiles have sizes 2, 4"):
        Winograd((9, 9, 8), 8, (1, 1, 1, 1), "float32", False, 3)
