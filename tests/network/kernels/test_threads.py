"""Kernels on several threads: whatever is shared, the numbers are those of one thread."""

from dataclasses import replace

import numpy as np
import pytest

from network.build import build_library
from network.kernels.add import Add
from network.kernels.conv2d import Conv2d
from network.kernels.conv_transpose import ConvTranspose
from network.kernels.depthwise import Depthwise
from network.kernels.expand import Expand
from network.kernels.lrn import Lrn
from network.kernels.pool import Pool
from network.kernels.register_tiles import ALONE, BY_BLOCKS, BY_ROWS
from network.kernels.resize import Resize
from network.kernels.softmax import Softmax
from network.target import Target

KERNELS = [
    Conv2d((23, 17, 5), 70, (3, 3), (2, 1), (1, 1, 1, 1), "float32", "float32", True),
    Conv2d((23, 17, 8), 64, (3, 3), (1, 1), (1, 1, 1, 1), "uint8", "uint8", False, groups=2),
    Conv2d((1, 1, 300), 200, (1, 1), (1, 1), (0, 0, 0, 0), "float32", "float32", False),
    ConvTranspose((9, 9, 16), 20, (2, 2), (2, 2), (0, 0, 0, 0), "float32", "uint8", False),
    Depthwise((61, 61, 40), (3, 3), (1, 1), (1, 1, 1, 1), "float32", "float32", True),
    Add((71, 71, 24), "uint8", "uint8", False),
    Pool((75, 75, 24), (37, 37, 24), "max", (3, 3), (2, 2), (0, 0, 0, 0), "float32", False),
    Expand((70, 70, 24), 2, 2, "float32", True),
    Lrn((23, 23, 40), 5, 1e-4, 0.75, 1.0),
    Resize((37, 37, 24), (74, 74, 24), "linear", "half_pixel", "float32"),
    Softmax((41, 41, 24)),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.key)
def test_threads_change_nothing(kernel, tmp_path):
    from tvm.runtime import empty, load_module, tensor

    target = Target.host()
    threaded = replace(target, threads=3)
    rng = np.random.default_rng(0)
    *arguments, result = kernel.arguments(target.isa)
    values = [
        tensor(
            rng.standard_normal(each.shape).astype("f4")
            if each.dtype == "float32"
            else rng.integers(0, 100, each.shape).astype(each.dtype)
        )
        for each in arguments
    ]

    def run(target, tile, name):
        built = build_library([(kernel, tile)], target, tmp_path / f"{name}.so")
        assert not built.failures
        (symbol,) = built.symbols.values()
        output = empty(result.shape, result.dtype)
        load_module(str(built.path))[symbol](*values, output)
        return output.numpy()

    expected = run(target, kernel.tiles(target.isa)[0], "one")
    tiles = kernel.tiles(threaded.isa)[:1]
    if tiles[0]:
        tiles = kernel.tiles(threaded.isa)
    if isinstance(kernel, Conv2d | ConvTranspose):
        tiles = tuple((*tiles[0][:3], split) for split in (ALONE, BY_ROWS, BY_BLOCKS))
    for index, tile in enumerate(tiles):
        np.testing.assert_array_equal(run(threaded, tile, str(index)), expected)
