"""Links object files into a shared library: with the host's tools, a cross linker, or zig's lld.

Libraries are linked against nothing: the few functions of TVM and libc that kernels call are in every
process that loads them, so a library asks for no particular libc version on the device.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from network.errors import NetworkError

_COMPILERS = ("cc", "gcc", "g++", "clang")
_SHARED = ("-shared", "-s", "-z", "norelro", "-z", "noseparate-code")
"""Storage is one of the bounds: without debug information, and without the gaps that protect nothing here."""
_EMULATIONS = {
    "x86_64": "elf_x86_64",
    "aarch64": "aarch64linux",
    "armv7l": "armelf_linux_eabi",
    "riscv64": "elf64lriscv",
}
_BINUTILS = {"armv7l": "arm-linux-gnueabihf"}
"""What Debian, Fedora and others put before ``-ld``, where it is not ``ARCHITECTURE-linux-gnu``."""


def linker(mtriple: str) -> Callable[..., None]:
    """A function ``(output, objects)`` that links for ``mtriple``, to be given to TVM as ``fcompile``.

    Raises NetworkError when nothing on this machine can link for it.
    """
    prefix = _command(mtriple.split("-", maxsplit=1)[0])

    def link(output: str, objects: Sequence[str], **_: object) -> None:
        command = [*prefix, "-o", str(output), *map(str, objects)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NetworkError(f"linking failed: run `{' '.join(command)}`\n{done.stderr.strip()}")

    return link


def _command(architecture: str) -> list[str]:
    """The command up to its output."""
    native = architecture == platform.machine()
    cross = f"{_BINUTILS.get(architecture, f'{architecture}-linux-gnu')}-ld"
    command = (_host_command() if native else _ld_command(cross)) or _zig_command(architecture)
    if command is None:
        sought = ", ".join((*_COMPILERS, "ld", "ziglang") if native else (cross, "ziglang"))
        raise NetworkError(
            f"nothing here links shared libraries for {architecture} (looked for {sought}): "
            "run `pip install 'blinknet[cross]'`"
        )
    return command


def _host_command() -> list[str] | None:
    for name in _COMPILERS:
        if found := shutil.which(name):
            return [found, *_SHARED, "-nostdlib"]
    return _ld_command("ld")


def _ld_command(name: str) -> list[str] | None:
    found = shutil.which(name)
    return [found, *_SHARED] if found else None


def _zig_command(architecture: str) -> list[str] | None:
    emulation = _EMULATIONS.get(architecture)
    if emulation is None or find_spec("ziglang") is None:
        return None
    return [sys.executable, "-m", "ziglang", "ld.lld", "-m", emulation, *_SHARED]
