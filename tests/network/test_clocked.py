"""Configurations whose kernels read a clock, run in this process."""

from pathlib import Path
from time import monotonic_ns

import numpy as np
import pytest

from network.assemble import Assembled, Choice, assemble
from network.clocked import Clocked, assemble_clocked
from network.errors import NetworkError
from network.target import Target
from tests.small_network import Small

RUNS = 5


def chosen(small: Small, name: str) -> dict[str, list]:
    """One approximation in all layers, float32 between them."""
    isa = Target.host().isa
    variants = {
        layer: next(
            each
            for each in small.known.variants[layer]
            if each.approximation in (name, "exact") and str(each.reads) == str(each.writes) == "f32"
        )
        for layer in small.layers
    }
    return {
        layer: [(kernel, kernel.tiles(isa)[0]) for kernel in each.kernels] for layer, each in variants.items()
    }


@pytest.fixture(scope="module")
def library(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Clocked, ...]]:
    """The exact configuration twice."""
    path = tmp_path_factory.mktemp("clocked") / "clocked.so"
    exact = chosen(small, "exact")
    return path, assemble_clocked(small.network, [exact, exact], Target.host(), RUNS, path)


def function(path: Path, entry: str):
    from tvm import cpu, relax
    from tvm.runtime import load_module

    return relax.VirtualMachine(load_module(str(path)), cpu())[entry]


@pytest.fixture(scope="module")
def deployed(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Assembled:
    """The same configuration as it is deployed."""
    choices = {
        layer: Choice(
            small.known.fitted(small.known.alone(layer, "exact")), tuple(tile for _, tile in kernels)
        )
        for layer, kernels in chosen(small, "exact").items()
    }
    path = tmp_path_factory.mktemp("deployed") / "network.so"
    return assemble(small.network, choices, Target.host(), path)


def test_each_kernel_of_each_run_has_a_stamp(small: Small, library, deployed: Assembled):
    from tvm.runtime import tensor

    path, (first, _) = library
    main = function(path, first.entry)
    stamps = tensor(np.zeros(first.stamps.shape, first.stamps.dtype))
    parameters = [tensor(array) for _, array in deployed.parameters]
    sample = tensor(small.samples.x[:1])
    before = monotonic_ns()
    answers = [main(sample, *parameters, stamps).numpy() for _ in range(2)]
    after = monotonic_ns()
    words = stamps.numpy()
    taken = 2 * (2 + len(first.places))
    assert words[0] == taken
    times = words[1 : 1 + 2 * taken].reshape(-1, 2) @ np.array([1_000_000_000, 1])
    assert before <= times[0]
    assert times[-1] <= after
    assert (np.diff(times) >= 0).all()
    assert not words[1 + 2 * taken :].any()
    plain = function(deployed.path, "main")(sample, *parameters).numpy()
    for each in answers:
        np.testing.assert_array_equal(each, plain)


def test_places_name_every_kernel_in_order(small: Small, library):
    _, (first, _) = library
    kernels = [
        (layer, step, kernel.key)
        for layer, several in chosen(small, "exact").items()
        for step, (kernel, _) in enumerate(several)
    ]
    assert [(layer, step, request.rpartition(" ")[0]) for layer, step, request in first.places] == kernels


def test_what_has_no_room_for_more_runs_stays_as_it_is(small: Small, library):
    from tvm.runtime import tensor

    path, (_, second) = library
    main = function(path, second.entry)
    stamps = tensor(np.zeros(second.stamps.shape, second.stamps.dtype))
    arguments = [tensor(np.ones(each.shape, each.dtype)) for each in second.arguments]
    for _ in range(RUNS):
        main(*arguments, stamps)
    full = stamps.numpy().copy()
    main(*arguments, stamps)
    np.testing.assert_array_equal(stamps.numpy(), full)


def test_equal_kernels_of_several_configurations_are_compiled_once(library):
    path, (first, second) = library
    content = path.read_bytes()
    assert first.places == second.places
    symbols = {word for word in content.split(b"\0") if word.startswith(b"__tvm_ffi_blinknet_")}
    assert len(symbols) == len({request for *_, request in first.places}) + 1  # The clock itself.


def test_kernels_that_do_not_fit_each_other_are_named(small: Small, tmp_path: Path):
    wrong = chosen(small, "exact")
    convolutions = [layer for layer in small.layers if small.network[layer].op == "conv2d"]
    wrong[convolutions[1]] = wrong[convolutions[0]]
    with pytest.raises(NetworkError, match=rf"{convolutions[1]}\.0 reads .* choose kernels that agree"):
        assemble_clocked(small.network, [wrong], Target.host(), RUNS, tmp_path / "wrong.so")
