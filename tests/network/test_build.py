import hashlib
from dataclasses import dataclass

import numpy as np
import pytest

from network import link
from network.build import build_library, request_key
from network.errors import NetworkError
from network.isas import known
from network.kernels.conv2d import Conv2d
from network.kernels.relu import Relu
from network.link import linker
from network.target import Target, triple

RELU = Relu((3, 5, 7), "float32")
CONV = Conv2d((6, 6, 3), 20, (3, 3), (1, 1), (1, 1, 1, 1), "uint8", "uint8", True)


@dataclass(frozen=True, slots=True)
class Unmakeable(Relu):
    """Fails before it is compiled."""

    def prim_func(self, isa, tile):
        raise RuntimeError("no schedule")


@dataclass(frozen=True, slots=True)
class Uncompilable(Relu):
    """Fails in TVM, and with it every function that is compiled at the same time."""

    def prim_func(self, isa, tile):
        from tvm import tirx

        from network.kernels import emit

        def body(x, y):
            emit.store(y, tirx.Var("unbound", "float32"), 0, 0)

        return emit.function(("x", "y"), self.arguments(isa), body)


@pytest.fixture(scope="module")
def target():
    return Target.host()


def loaded(library):
    from tvm.runtime import load_module

    return load_module(str(library.path))


def test_every_request_is_a_function_of_the_library(target, tmp_path):
    requests = [(RELU, ()), *[(CONV, tile) for tile in CONV.tiles(target.isa)]]
    library = build_library(requests, target, tmp_path / "deep" / "kernels.so")
    assert library.failures == {}
    assert set(library.symbols) == {request_key(*request) for request in requests}
    from tvm.runtime import empty, tensor

    function = loaded(library)[library.symbols[request_key(RELU, ())]]
    x = np.linspace(-1, 1, 105, dtype="f4").reshape(3, 35)
    y = empty((3, 35), "float32")
    function(tensor(x), y)
    np.testing.assert_array_equal(y.numpy(), np.maximum(x, 0))


def test_equal_requests_are_built_once(target, tmp_path):
    library = build_library([(RELU, ()), (Relu((3, 5, 7), "float32"), ())], target, tmp_path / "kernels.so")
    assert len(library.symbols) == 1


def test_equal_requests_give_equal_libraries(target, tmp_path):
    requests = [(RELU, ()), (CONV, CONV.tiles(target.isa)[0])]
    digests = set()
    for name, order in (("a.so", 1), ("b.so", -1)):
        path = build_library(requests[::order], target, tmp_path / name).path
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("broken", [Unmakeable, Uncompilable])
def test_a_failure_does_not_spoil_the_others(target, tmp_path, broken):
    bad = broken((1, 1, 1), "float32")
    library = build_library([(bad, ()), (RELU, ())], target, tmp_path / "kernels.so")
    assert set(library.symbols) == {request_key(RELU, ())}
    assert set(library.failures) == {request_key(bad, ())}
    assert ": " in library.failures[request_key(bad, ())]
    assert loaded(library).implements_function(library.symbols[request_key(RELU, ())])


def test_without_a_linker_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(link.shutil, "which", lambda name: None)
    monkeypatch.setattr(link, "find_spec", lambda name: None)
    with pytest.raises(NetworkError, match=r"looked for cc, .*ld.*pip install 'blinknet\[cross\]'"):
        linker(Target.host().mtriple)


@pytest.mark.parametrize(
    ("mtriple", "sought"),
    [
        ("riscv64-linux-gnu", "for riscv64 .*riscv64-linux-gnu-ld, ziglang"),
        ("armv7l-linux-gnueabihf", "for armv7l .*arm-linux-gnueabihf-ld, ziglang"),
    ],
)
def test_another_architecture_needs_a_linker_of_its_own(monkeypatch, mtriple, sought):
    monkeypatch.setattr(link.shutil, "which", lambda name: None)
    monkeypatch.setattr(link, "find_spec", lambda name: None)
    with pytest.raises(NetworkError, match=sought):
        linker(mtriple)


ELF_MACHINES = {"x86_64": 62, "aarch64": 183, "armv7l": 40, "riscv64": 243}
"""e_machine of the ELF header."""


@pytest.mark.parametrize("isa", known(), ids=lambda isa: isa.name)
def test_a_library_is_one_of_its_architecture(tmp_path, isa):
    target = Target(triple(isa.architecture), isa.mcpu, isa.mattr)
    try:
        linker(target.mtriple)
    except NetworkError as error:
        pytest.skip(str(error))
    library = build_library([(CONV, CONV.tiles(isa)[0])], target, tmp_path / "kernels.so")
    assert library.failures == {}
    header = library.path.read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert int.from_bytes(header[18:20], "little") == ELF_MACHINES[isa.architecture]


def test_a_failed_link_names_its_command(tmp_path):
    missing = tmp_path / "missing.o"
    with pytest.raises(NetworkError, match=f"run `.*{missing}"):
        linker(Target.host().mtriple)(str(tmp_path / "out.so"), [str(missing)])
