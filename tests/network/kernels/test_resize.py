import numpy as np
import pytest

from network.errors import NetworkError
from network.kernels.resize import Resize
from tests.network.kernels import onnx_operators, reference
from tests.network.kernels.test_elementwise import random

SIZES = [((3, 4), (6, 8)), ((5, 6), (15, 9)), ((8, 8), (4, 3)), ((1, 7), (1, 14))]
COORDINATES = ["half_pixel", "asymmetric", "align_corners"]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_linear_agrees_with_onnx_runtime(compute, coordinates, dtype):
    for size, out in SIZES:
        x = random((*size, 37), dtype)
        kernel = Resize(x.shape, (*out, 37), "linear", coordinates, dtype)
        sizes = np.array([1, 37, *out])
        constants = None, None, sizes
        attributes = {"mode": "linear", "coordinate_transformation_mode": coordinates}
        expected = onnx_operators.run("Resize", x.astype("f4"), constants, **attributes)
        for actual in (compute(kernel, x, {}), reference.meaning(kernel, x, {})):
            assert actual.dtype == dtype
            if dtype == "float32":
                np.testing.assert_allclose(actual, expected, atol=2e-6)
            else:
                # Thirds and fifths are not exact in float32: what lies halfway may be rounded either way.
                assert np.abs(actual - expected).max() <= 0.5 + 1e-4


def test_linear_halves_are_rounded_to_even(compute):
    x = np.array([0, 1, 2, 3], "u1").reshape(1, 2, 2)
    kernel = Resize((1, 2, 2), (1, 4, 2), "linear", "asymmetric", "uint8")
    expected = [[[0, 1], [1, 2], [2, 3], [2, 3]]]
    assert compute(kernel, x, {}).tolist() == expected
    assert reference.meaning(kernel, x, {}).tolist() == expected


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_nearest_agrees_with_onnx_runtime(compute, coordinates, rounding, dtype):
    # ONNX Runtime computes positions in float32: sizes whose quotients are exact have the same roundings.
    for size, out in (((3, 4), (6, 8)), ((8, 8), (4, 2)), ((5, 1), (5, 4)), ((5, 5), (9, 3))):
        if coordinates != "align_corners" and size == (5, 5):
            continue
        x = random((*size, 70), dtype)
        kernel = Resize(x.shape, (*out, 70), "nearest", coordinates, dtype, rounding)
        constants = None, None, np.array([1, 70, *out])
        expected = onnx_operators.run(
            "Resize",
            x.astype("f4"),
            constants,
            mode="nearest",
            coordinate_transformation_mode=coordinates,
            nearest_mode=rounding,
        )
        np.testing.assert_array_equal(compute(kernel, x, {}), expected)
        np.testing.assert_array_equal(reference.meaning(kernel, x, {}), expected)


def test_other_channels_are_refused():
    with pytest.raises(NetworkError, match="resizing keeps the channels"):
        Resize((4, 4, 3), (8, 8, 4), "nearest", "asymmetric", "float32")
