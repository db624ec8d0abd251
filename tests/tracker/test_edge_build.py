import os
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.tracker.models import MATMUL, build_kernels, build_model
from tests.tracker.servers import Kind
from tracker import edge_build
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.edge_build import PROGRAM, build, build_folder, compiler
from tracker.edge_errors import MissingToolError
from tracker.edge_runtime import LIBRARIES
from tracker.emulation import emulated_command
from tracker.errors import TrackerError
from tracker.session import Session
from tracker.timing import Timing

HOST = platform.machine()
KEY = DeviceKey("lab", "built")


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(edge_build, "find_spec", lambda _: None)


@pytest.fixture
def built() -> Path:
    try:
        return build(HOST)
    except MissingToolError as error:
        pytest.skip(str(error))


def test_the_folder_has_all_that_a_board_needs(built: Path) -> None:
    names = {each.name for each in built.iterdir()}
    assert names == {PROGRAM, *LIBRARIES, "blinknet-device.service", "README"}
    assert re.search(r"glibc 2\.\d+ .*GLIBCXX_3\.4\.\d+", (built / "README").read_text())


def test_it_is_built_once(built: Path) -> None:
    before = (built / PROGRAM).stat().st_mtime_ns
    assert build(HOST) == built
    assert (built / PROGRAM).stat().st_mtime_ns == before


def test_a_copy_runs_by_itself(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edge_build.main([HOST, "--out", str(tmp_path / "copy")]) == 0
    assert "MB" in capsys.readouterr().out
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    command = [str(tmp_path / "copy" / PROGRAM), "--help"]
    told = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True)
    assert "--tracker HOST:PORT" in told.stdout
    assert edge_build.main([HOST, "--out", str(tmp_path / "copy")]) == 2
    assert "name another folder" in capsys.readouterr().err


def test_an_architecture_that_there_is_none_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert edge_build.main(["z80"]) == 2
    assert "there are x86_64, aarch64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("architecture", "package"),
    [(HOST, "g++"), ("riscv64", "g++-riscv64-linux-gnu"), ("armv7l", "g++-arm-linux-gnueabihf")],
)
def test_a_compiler_that_is_missing_is_named(
    nothing_installed: None, architecture: str, package: str
) -> None:
    with pytest.raises(MissingToolError, match=rf"apt install {re.escape(package)}`"):
        compiler(architecture)


def test_an_emulator_that_is_missing_is_named(nothing_installed: None) -> None:
    with pytest.raises(MissingToolError, match="apt install qemu-user-static"):
        emulated_command(Address("127.0.0.1", 9190), KEY, "cortex-a72")


def test_a_processor_that_is_not_emulated_is_refused_with_those_that_are() -> None:
    with pytest.raises(TrackerError, match=r"z80 .*choose from .*cortex-a72"):
        emulated_command(Address("127.0.0.1", 9190), KEY, "z80")


def test_a_runtime_that_was_built_from_sources_works(tracker: Address, tmp_path: Path) -> None:
    if not list(build_folder().glob("runtime-riscv64-*")):
        pytest.skip("not built yet, which takes minutes; run `scripts/build-edge-agent riscv64`")
    kind = Kind("rv64", cpu="rv64")
    model = build_model(tmp_path / "model.so", (100, 300, 10), architecture="riscv64")
    inputs = np.random.default_rng(1).normal(size=(5, 100)).astype(np.float32)
    with kind.start(tracker, KEY), Session.open(tracker, KEY) as session:
        kernels = build_kernels(tmp_path / "kernels.so", "riscv64")
        assert isinstance(session.time_functions(kernels, [MATMUL])[0], Timing)
        session.load_network("net", model.library, model.parameters, [(100,)], [(10,)])
        (outputs,) = session.predict("net", [inputs])
    np.testing.assert_allclose(outputs, model(inputs), rtol=1e-4, atol=1e-5)
