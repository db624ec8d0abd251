"""TVM's runtime libraries for an architecture: those installed here, of TVM's own wheels, or built.

The versions are those installed here: a device must run the runtime that its kernels were compiled against.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tracker.edge_errors import EdgeBuildError
from tracker.edge_sources import SUPPORT, build_libraries

ARCHITECTURES: Final = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
    "armv7l": "arm-linux-gnueabihf",
}
"""As ``uname -m`` names them, to the prefix of their cross compilers."""
_WITH_WHEELS: Final = ("x86_64", "aarch64")
LIBRARIES: Final = ("libtvm_runtime.so", "libtvm_runtime_extra.so", "libtvm_ffi.so")
_MEMBERS: Final = (
    "tvm/lib/libtvm_runtime.so",
    "tvm/lib/libtvm_runtime_extra.so",
    "tvm_ffi/lib/libtvm_ffi.so",
)


def versions() -> tuple[str, ...]:
    """The packages that libraries and headers come from, as pip names them."""
    return tuple(f"{name}=={version(name)}" for name in ("apache-tvm", "apache-tvm-ffi"))


def headers() -> Path:
    """Of TVM's C++ interface; the same for every architecture."""
    return _package("tvm_ffi") / "include"


def libraries(architecture: str, command: Sequence[str], cache: Path) -> tuple[Path, ...]:
    """The files of ``LIBRARIES`` for an architecture; what is downloaded or built stays in ``cache``.

    ``command`` is the compiler, for an architecture without wheels.

    Raises EdgeBuildError.
    """
    if architecture == platform.machine():
        return tuple(_package(member.partition("/")[0]).parent / member for member in _MEMBERS)
    folder = cache / "-".join(["runtime", architecture, *versions(), *_sources_of(architecture)])
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as temporary:
            kept = Path(temporary, "libraries")
            kept.mkdir()
            if architecture in _WITH_WHEELS:
                _take_from_wheels(architecture, Path(temporary), kept)
            else:
                build_libraries(command, _package("tvm"), _package("tvm_ffi"), kept)
            move(kept, folder)
    return tuple(folder / name for name in LIBRARIES)


def move(new: Path, folder: Path) -> None:
    """Moves a folder to its place, unless another process has built the same meanwhile."""
    try:
        new.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _sources_of(architecture: str) -> tuple[str, ...]:
    """What tells apart two runtimes that are built of the same versions."""
    if architecture in _WITH_WHEELS:
        return ()
    content = hashlib.sha256()
    for path in sorted(each for each in SUPPORT.rglob("*") if each.is_file()):
        content.update(path.name.encode() + b"\0" + path.read_bytes())
    return (content.hexdigest()[:12],)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EdgeBuildError(f"the package {name} is not installed; run `pip install blinknet`")
    return Path(next(iter(spec.submodule_search_locations)))


def _take_from_wheels(architecture: str, folder: Path, kept: Path) -> None:
    """Downloads TVM's wheels for the architecture to ``folder``; the libraries go to ``kept``."""
    _download(architecture, folder)
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
