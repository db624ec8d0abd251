"""TVM's runtime libraries for an architecture: those installed here, or those of TVM's own wheels.

The versions are those installed here: a device must run the runtime that its kernels were compiled against.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tracker.errors import TrackerError

ARCHITECTURES: Final = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
}
"""As ``uname -m`` names them, to the prefix of their cross compilers."""
LIBRARIES: Final = ("libtvm_runtime.so", "libtvm_runtime_extra.so", "libtvm_ffi.so")
_MEMBERS: Final = (
    "tvm/lib/libtvm_runtime.so",
    "tvm/lib/libtvm_runtime_extra.so",
    "tvm_ffi/lib/libtvm_ffi.so",
)


class EdgeBuildError(TrackerError):
    """The agent cannot be built here."""


class MissingToolError(EdgeBuildError):
    """A compiler or an emulator is missing; the message says what to install."""


def versions() -> tuple[str, ...]:
    """The packages that libraries and headers come from, as pip names them."""
    return tuple(f"{name}=={version(name)}" for name in ("apache-tvm", "apache-tvm-ffi"))


def headers() -> Path:
    """Of TVM's C++ interface; the same for every architecture."""
    return _package("tvm_ffi") / "include"


def libraries(architecture: str, cache: Path) -> tuple[Path, ...]:
    """The files of ``LIBRARIES`` for an architecture; what is downloaded stays in ``cache``.

    Raises EdgeBuildError.
    """
    if architecture == platform.machine():
        return tuple(_package(member.partition("/")[0]).parent / member for member in _MEMBERS)
    folder = cache / "-".join(["runtime", architecture, *versions()])
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as temporary:
            _take_from_wheels(architecture, Path(temporary))
            move(Path(temporary, "libraries"), folder)
    return tuple(folder / name for name in LIBRARIES)


def move(new: Path, folder: Path) -> None:
    """Moves a folder to its place, unless another process has built the same meanwhile."""
    try:
        new.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EdgeBuildError(f"the package {name} is not installed; run `pip install blinknet`")
    return Path(next(iter(spec.submodule_search_locations)))


def _take_from_wheels(architecture: str, folder: Path) -> None:
    """Downloads TVM's wheels for the architecture and keeps the libraries, in ``folder/libraries``."""
    _download(architecture, folder)
    kept = folder / "libraries"
    kept.mkdir()
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for member in set(_MEMBERS).intersection(archive.namelist()):
                (kept / Path(member).name).write_bytes(archive.read(member))


def _download(architecture: str, folder: Path) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = ["--platform", f"manylinux_2_28_{architecture}", "--python-version", python]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", *wanted, "--dest", str(folder), *versions()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeBuildError(
            f"TVM's wheels for {architecture} cannot be had: run `{' '.join(command)}`\n{done.stderr.strip()}"
        )
