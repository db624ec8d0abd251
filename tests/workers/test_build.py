"""What workers compile, and where."""

import os

import numpy as np
import pytest

from network.build import request_key
from network.target import Target
from tests.small_network import Small
from workers.build import Executable, assemble_executable, build, keep_to

ELF = b"\x7fELF"


def requests(small: Small):
    isa = Target.host().isa
    steps = [
        step
        for key in ("exact f32>f32", "int8 u8>u8", "channels(1/2) f32/4>f32")
        for step in small.fitted("conv2", key).steps
    ]
    return {
        request_key(each.kernel, tile): (each.kernel, tile)
        for each in steps
        for tile in each.kernel.tiles(isa)
    }


def assembled(small: Small, key: str) -> Executable:
    """The network with one variant key in every layer."""
    isa = Target.host().isa
    fitted = {layer: small.fitted(layer, key) for layer in small.layers}
    tiles = [[step.kernel.tiles(isa)[0] for step in each.steps] for each in fitted.values()]
    return assemble_executable(small.network, fitted, tiles, Target.host(), ())


def test_many_kernels_become_one_library(small: Small):
    wanted = requests(small)
    library = build(list(wanted.values()), Target.host(), ())
    assert library.content.startswith(ELF)
    assert set(library.symbols) == set(wanted)
    assert len(set(library.symbols.values())) == len(wanted)
    assert not library.failures
    assert all(symbol.encode() in library.content for symbol in library.symbols.values())


def test_a_kernel_that_does_not_compile_leaves_the_others(small: Small):
    (key, good), *_ = requests(small).items()
    bad = (good[0], (0, 0))
    library = build([good, bad], Target.host(), ())
    assert set(library.symbols) == {key}
    assert set(library.failures) == {request_key(*bad)}
    assert all(library.failures.values())


def test_where_nothing_compiles_there_is_no_library(small: Small):
    kernel, _ = next(iter(requests(small).values()))
    library = build([(kernel, (0, 0))], Target.host(), ())
    assert (library.content, dict(library.symbols)) == (b"", {})


def test_an_executable_holds_library_and_parameters(small: Small):
    executable = assembled(small, "exact f32>f32")
    assert executable.library.startswith(ELF)
    weights = sum(each.weight.nbytes for each in small.network.layers if each.weight is not None)
    assert weights <= executable.parameter_bytes == sum(each.nbytes for each in executable.arrays)
    assert len({name for name, _ in executable.parameters}) == len(executable.parameters)
    assert executable.planned_bytes > 0
    assert all(isinstance(each, np.ndarray) for each in executable.arrays)


@pytest.mark.parametrize("given", [[], [10_000]])
def test_cores_that_are_not_there_change_nothing(affinity: set[int], given: list[int]):
    keep_to(given)
    assert os.sched_getaffinity(0) == affinity


def test_it_keeps_to_the_given_cores(affinity: set[int]):
    core = max(affinity)
    keep_to([core, 10_000])
    assert os.sched_getaffinity(0) == {core}
