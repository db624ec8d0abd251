from __future__ import annotations

import numpy as np
import pytest

from network.errors import NetworkError
from network.layers import Layer, Network
from network.samples import load_samples

SHAPE = (4, 5, 2)
LAYERS = (Layer("input", "input", (), SHAPE, SHAPE), Layer("p", "avg_pool", ("input",), SHAPE, (1, 1, 2)))
NETWORK = Network("tiny", "0" * 64, LAYERS)
X = np.random.default_rng(1).integers(0, 256, (10, 2, 4, 5), dtype=np.uint8)
Y = np.arange(10, dtype=np.uint8) % 2


def write(tmp_path, **arrays):
    path = tmp_path / "samples.npz"
    np.savez(path, **arrays)
    return path


def test_values_are_scaled_and_shifted(tmp_path):
    samples = load_samples(write(tmp_path, x=X, y=Y), NETWORK, scale=1 / 255, offset=-0.5)
    np.testing.assert_allclose(samples.x, X / 255 - 0.5, atol=1e-6)
    assert samples.x.dtype == np.float32
    assert samples.y.dtype == np.int64
    assert len(samples) == 10


def test_taking_is_spread_over_the_file_and_repeatable(tmp_path):
    samples = load_samples(write(tmp_path, x=X, y=Y), NETWORK)
    taken = samples.take(5)
    np.testing.assert_array_equal(taken.x, X[::2])
    assert taken.sha256 == samples.take(5).sha256 != samples.sha256
    assert samples.take(99) is samples


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, ["no array y", "it has: x"]),
        ({"x": X[:, :1], "y": Y}, ["(10, 1, 4, 5)", "(n, 2, 4, 5)"]),
        ({"x": X[:0], "y": Y[:0]}, ["no samples"]),
        ({"x": X, "y": Y[:3]}, ["(3,)", "10 samples"]),
        ({"x": X, "y": Y + 1}, ["1 to 2", "classes 0 to 1"]),
        ({"x": X, "y": Y + 0.5}, ["whole numbers"]),
        ({"x": X, "y": np.array(["a"] * 10)}, ["numeric"]),
        ({"x": np.full(X.shape, np.nan), "y": Y}, ["finite"]),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(tmp_path, arrays, words):
    with pytest.raises(NetworkError) as error:
        load_samples(write(tmp_path, **arrays), NETWORK)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_files_that_are_missing_or_broken(tmp_path):
    with pytest.raises(NetworkError, match="no samples at"):
        load_samples(tmp_path / "none.npz", NETWORK)
    (tmp_path / "text.npz").write_text("not numpy")
    with pytest.raises(NetworkError, match="cannot be read"):
        load_samples(tmp_path / "text.npz", NETWORK)
    np.save(tmp_path / "single.npy", X)
    with pytest.raises(NetworkError, match="single array"):
        load_samples(tmp_path / "single.npy", NETWORK)
