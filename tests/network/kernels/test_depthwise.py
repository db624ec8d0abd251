import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.errors import NetworkError
from network.kernels.depthwise import Depthwise
from tests.network.kernels import reference
from tests.network.kernels.test_conv2d import DTYPES, SETTINGS, assert_close, fields, sample


@st.composite
def kernels(draw, dtypes):
    drawn = draw(fields(dtypes, dilations=3))
    height, width, _ = drawn["input_shape"]
    channels = draw(st.one_of(st.integers(1, 40), st.sampled_from([16, 32, 64])))
    return Depthwise(**{**drawn, "input_shape": (height, width, channels)})


@pytest.mark.parametrize("dtypes", DTYPES, ids=">".join)
def test_any_shape_agrees_with_numpy(compute, dtypes):
    @SETTINGS
    @given(kernels(dtypes))
    def agree(kernel):
        x, parameters = sample(kernel.convolution)
        expected = reference.conv2d(kernel.convolution, x, parameters)
        assert_close(kernel, compute(kernel, x, parameters), expected)
        assert_close(kernel, reference.meaning(kernel, x, parameters), expected)

    agree()


def test_windows_too_large_for_exact_sums_are_refused():
    with pytest.raises(NetworkError, match="at most 513 elements"):
        Depthwise((40, 40, 4), (23, 23), (1, 1), (0, 0, 0, 0), "uint8", "uint8", relu=False)
