"""What holds for every kernel on every instruction set, compiled or not."""

import re
from dataclasses import replace

import numpy as np
import pytest

from network.errors import NetworkError
from network.isas import known, select
from network.kernels.conv2d import Conv2d
from network.kernels.depthwise import Depthwise
from network.kernels.expand import Expand
from network.kernels.input import Input
from network.kernels.output import Output
from network.kernels.pool import Pool
from network.kernels.relu import Relu
from network.kernels.storage import LARGEST, PARAMETER, bits
from network.kernels.winograd import Winograd
from tests.network.kernels.emulated import PROCESSORS

ISAS = pytest.mark.parametrize("isa", known(), ids=lambda isa: isa.name)
KERNELS = [
    Conv2d((9, 9, 3), 10, (3, 3), (1, 1), (1, 1, 1, 1), "float32", "float32", True),
    Conv2d((9, 9, 5), 10, (3, 3), (2, 1), (0, 0, 0, 0), "uint8", "uint8", True),
    Conv2d((9, 9, 8), 48, (1, 1), (1, 1), (0, 0, 0, 0), "uint8", "float32", False, selected=3),
    Conv2d((4, 4, 64), 10, (4, 4), (1, 1), (0, 0, 0, 0), "float32", "float32", False),
    Conv2d((32, 32, 64), 256, (3, 3), (1, 1), (1, 1, 1, 1), "uint8", "uint8", True),
    Conv2d((9, 9, 6), 10, (3, 3), (1, 1), (0, 0, 0, 0), "uint8", "uint8", False, groups=2),
    Conv2d((9, 9, 6), 10, (3, 3), (1, 1), (2, 2, 2, 2), "float32", "float32", True, dilation=(2, 2)),
    Conv2d((9, 9, 6), 10, (3, 3), (1, 1), (2, 2, 2, 2), "float32", "float32", True, clip=6.0),
    *[
        Conv2d((9, 9, 6), 10, (3, 3), (1, 1), (1, 1, 1, 1), "float32", "uint8", True, storage=each)
        for each in PARAMETER
    ],
    Depthwise((9, 9, 24), (3, 3), (2, 2), (1, 1, 1, 1), "float32", "float32", True, clip=6.0),
    Depthwise((9, 9, 24), (3, 3), (1, 1), (1, 1, 1, 1), "uint8", "uint8", False),
    Winograd((9, 9, 24), 20, (1, 1, 1, 1), "float32", True, 2),
    Winograd((9, 9, 24), 20, (0, 0, 0, 0), "uint8", False, 4),
    Pool((9, 9, 3), (5, 5, 3), "max", (2, 2), (2, 2), (0, 0, 1, 1), "uint8", False),
    Pool((9, 9, 3), (5, 5, 3), "avg", (2, 2), (2, 2), (0, 0, 1, 1), "uint8", True),
    Input((3, 9, 9), "uint8"),
    Output((9, 9, 3), "float32"),
    Output((9, 9, 3), "uint8"),
    Relu((9, 9, 3), "float32"),
    Expand((9, 9, 3), 2, 2, "float32", True),
    Expand((9, 9, 3), 2, 2, "float32", True, shift=1),
    Conv2d((9, 9, 5), 10, (3, 3), (1, 2), (1, 1, 1, 2), "uint8", "uint8", True, shear=(1, 2)),
]
EVERY = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.key)


def given_parameters(kernel):
    return {name: np.zeros(spec.shape, spec.dtype) for name, spec in kernel.parameters().items()}


def allocated_bytes(prim_func):
    """What the function takes from the workspace pool; registers are printed as alloc_local."""
    found = re.findall(r"alloc_buffer\(\(([\d, ]+)\)(?:, \"(\w+)\")?", prim_func.script())
    return sum(
        int(np.prod([int(extent) for extent in shape.strip(", ").split(",")]))
        * np.dtype(dtype or "float32").itemsize
        for shape, dtype in found
    )


def test_keys_tell_kernels_apart():
    assert len({kernel.key for kernel in KERNELS}) == len(KERNELS)


@ISAS
@EVERY
def test_packing_gives_the_stated_arguments(kernel, isa):
    packed = kernel.pack(isa, given_parameters(kernel))
    *sources, result = kernel.arguments(isa)
    expected = sources[kernel.inputs :]
    assert [(array.shape, str(array.dtype)) for array in packed] == [
        (spec.shape, spec.dtype) for spec in expected
    ]
    height, width, channels = kernel.output_shape
    assert result.shape == (height, width * channels)
    assert result.dtype == kernel.output_dtype


@ISAS
@EVERY
def test_work_is_what_the_function_does(kernel, isa):
    work = kernel.work(isa)
    *sources, result = kernel.arguments(isa)
    inputs, parameters = sources[: kernel.inputs], sources[kernel.inputs :]
    assert (work.input_bytes, work.output_bytes) == (sum(each.nbytes for each in inputs), result.nbytes)
    assert work.parameter_bytes == sum(each.nbytes for each in parameters)
    assert work.workspace_bytes == allocated_bytes(kernel.prim_func(isa, kernel.tiles(isa)[0]))


@ISAS
@EVERY
def test_tiles_are_few_and_different(kernel, isa):
    tiles = kernel.tiles(isa)
    assert 1 <= len(tiles) <= 6
    assert len(set(tiles)) == len(tiles)


def test_multiplications_are_counted_without_those_that_are_skipped():
    kernel = Conv2d((8, 8, 8), 16, (3, 3), (1, 1), (1, 1, 1, 1), "float32", "float32", True, selected=4)
    assert kernel.work(known()[0]).macs == 8 * 8 * 16 * 3 * 3 * 4


@pytest.mark.parametrize(
    "kernel", [each for each in KERNELS if each.parameters()], ids=lambda kernel: kernel.key
)
def test_a_parameter_of_another_shape_is_refused(kernel):
    parameters = given_parameters(kernel)
    name = next(iter(parameters))
    parameters[name] = np.zeros((7, 7, 7), parameters[name].dtype)
    with pytest.raises(NetworkError, match=rf"parameter {name} is .*\[7, 7, 7\]; pass it as"):
        kernel.pack(known()[0], parameters)


@EVERY
def test_an_unknown_parameter_is_refused(kernel):
    parameters = {**given_parameters(kernel), "wieght": np.zeros(1)}
    with pytest.raises(NetworkError, match="pass exactly those"):
        kernel.pack(known()[0], parameters)


def test_an_int8_weight_that_overflows_pairs_is_refused():
    kernel = Conv2d((4, 4, 4), 4, (1, 1), (1, 1), (0, 0, 0, 0), "uint8", "uint8", False)
    parameters = {**given_parameters(kernel), "weight": np.full((4, 1, 1, 4), -128, "i1")}
    with pytest.raises(NetworkError, match=r"int8 weights must lie in -127\.\.127"):
        kernel.pack(known()[0], parameters)


@pytest.mark.parametrize("storage", LARGEST)
def test_a_stored_weight_that_is_too_large_is_refused(storage):
    kernel = Conv2d((4, 4, 4), 4, (1, 1), (1, 1), (0, 0, 0, 0), "float32", "float32", False, storage=storage)
    parameters = given_parameters(kernel)
    parameters["weight"][0, 0, 0, 0] = -LARGEST[storage] - 1
    with pytest.raises(NetworkError, match=r"stored weights must lie in"):
        kernel.pack(known()[0], parameters)


def test_storage_of_integer_weights_is_refused():
    with pytest.raises(NetworkError, match="storage is for float32 input"):
        Conv2d((4, 4, 4), 4, (1, 1), (1, 1), (0, 0, 0, 0), "uint8", "uint8", False, storage="int4")


@pytest.mark.parametrize("storage", PARAMETER)
@ISAS
def test_stored_weights_take_their_bits(storage, isa):
    kernel = Conv2d((8, 8, 64), 64, (3, 3), (1, 1), (1, 1, 1, 1), "float32", "float32", False)
    plain, small = (each.packed(isa)["weight"].nbytes for each in (kernel, replace(kernel, storage=storage)))
    assert small == plain * bits(storage) // 32


def test_an_index_beyond_the_input_is_refused():
    kernel = Conv2d((4, 4, 4), 4, (1, 1), (1, 1), (0, 0, 0, 0), "float32", "float32", False, selected=2)
    parameters = {**given_parameters(kernel), "index": np.array([0, 4], "i4")}
    with pytest.raises(NetworkError, match=r"index must name channels 0\.\.3"):
        kernel.pack(known()[0], parameters)


def test_a_window_larger_than_the_input_is_refused():
    with pytest.raises(NetworkError, match="the window must fit"):
        Conv2d((2, 2, 4), 4, (3, 3), (1, 1), (0, 0, 0, 0), "float32", "float32", False)


def test_a_row_of_windows_that_starts_too_far_right_is_refused():
    with pytest.raises(NetworkError, match="the window must fit"):
        Conv2d((9, 9, 5), 10, (3, 3), (1, 2), (1, 1, 1, 1), "float32", "float32", True, shear=(1, 2))


def test_a_pattern_that_shifts_out_of_its_block_is_refused():
    with pytest.raises(NetworkError, match=r"shift \* \(rows - 1\)"):
        Expand((9, 9, 3), 3, 2, "float32", True, shift=1)


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(NetworkError, match="groups must divide the channels"):
        Conv2d((4, 4, 6), 8, (3, 3), (1, 1), (0, 0, 0, 0), "float32", "float32", False, groups=4)


def test_a_clip_without_its_relu_is_refused():
    with pytest.raises(NetworkError, match="clip bounds a float32 relu"):
        Conv2d((4, 4, 6), 8, (3, 3), (1, 1), (0, 0, 0, 0), "float32", "uint8", False, clip=6.0)


@ISAS
def test_the_best_instruction_set_is_selected(isa):
    assert select(isa.architecture, isa.requires) == isa


def test_a_processor_without_any_is_refused():
    with pytest.raises(NetworkError, match=r"the x86_64 processor: x86_64_v2 is .* lacks .*sse4_2"):
        select("x86_64", {"fpu", "sse2"})


@ISAS
def test_every_instruction_set_is_run_by_the_tests(isa):
    """On this machine where it can; others are listed among the emulated processors."""
    emulated = {processor.name for processor in PROCESSORS}
    assert isa.architecture == "x86_64" or isa.name in emulated
