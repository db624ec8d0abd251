from __future__ import annotations

import numpy as np
import pytest

from network.layers import Layer, Network
from network.quantization import QParams, calibrate, quantize_weight, tensor_qparams

RNG = np.random.default_rng(3)


def test_images_of_bytes_are_stored_without_error():
    images = (RNG.integers(0, 256, (50, 8, 8, 1)) / np.float32(255)).astype(np.float32)
    qparams = calibrate(images)
    assert qparams.zero_point == 0
    np.testing.assert_allclose(qparams.scale, 1 / 255, rtol=1e-6)
    np.testing.assert_array_equal(qparams.quantize(images), np.rint(images * 255))


@pytest.mark.parametrize(("low", "high"), [(-3.0, 5.0), (0.0, 9.0), (2.0, 4.0), (-8.0, -1.0)])
def test_zero_is_exact_and_values_are_within_half_a_step(low, high):
    values = RNG.uniform(low, high, 10_000).astype(np.float32)
    qparams = calibrate(values)
    assert 0 <= qparams.zero_point <= 255
    assert qparams.dequantize(np.array([qparams.zero_point], np.uint8))[0] == 0
    error = np.abs(qparams.dequantize(qparams.quantize(values)) - values)
    # Rounding the zero point moves the ends of the range by up to half a step more.
    assert error.max() <= 1.01 * qparams.scale
    assert np.mean(error <= 0.501 * qparams.scale) > 0.99


def test_a_rare_outlier_is_clipped_for_the_others_sake():
    values = RNG.uniform(0, 1, 1_000_000).astype(np.float32)
    values[0] = 3
    clipped = calibrate(values)
    assert clipped.scale * 255 < 1.1
    spread = QParams(3 / 255, 0)
    errors = [np.square(each.dequantize(each.quantize(values)) - values).mean() for each in (clipped, spread)]
    assert errors[0] < errors[1]


def test_outliers_that_carry_the_signal_are_kept():
    values = np.zeros(10_000, np.float32)
    values[::300] = 100
    assert calibrate(values).scale * 255 == pytest.approx(100)


def test_a_tensor_of_zeros_has_a_usable_scale():
    assert calibrate(np.zeros(10, np.float32)) == QParams(1.0, 0)


def test_weights_are_rounded_to_the_best_range_of_each_channel():
    weight = (
        RNG.normal(size=(6, 3, 3, 16)).astype(np.float32)
        * np.float32([1, 10, 0.1, 3, 1e-4, 0])[:, None, None, None]
    )
    stored = quantize_weight(weight)
    assert stored.values.dtype == np.int8
    assert np.abs(stored.values.astype(int)).max() <= 127
    plain = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    plain_error = np.square(np.rint(weight / np.where(plain > 0, plain, 1)) * plain - weight).sum(
        axis=(1, 2, 3)
    )
    error = np.square(stored.dequantize() - weight).sum(axis=(1, 2, 3))
    assert (error <= plain_error * 1.0001).all()
    assert error.sum() < 1e-4 * np.square(weight).sum()


def test_pools_and_relu_pass_their_inputs_range_on():
    shape = (4, 4, 2)
    layers = (
        Layer("input", "input", (), shape, shape),
        Layer("pool", "max_pool", ("input",), shape, shape),
        Layer("relu", "relu", ("pool",), shape, shape, relu=True),
    )
    network = Network("n", "0" * 64, layers)
    x = RNG.normal(size=(10, *shape)).astype(np.float32)
    found = tensor_qparams(network, {"input": x, "pool": x, "relu": np.maximum(x, 0)})
    assert found["relu"] == found["pool"] == found["input"] == calibrate(x)
