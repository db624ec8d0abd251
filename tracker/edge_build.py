"""Builds the device agent for machines without Python: ``tracker/edge`` in C++ with TVM's runtime libraries.

The result is a folder that is copied to a board: program, libraries, systemd unit, README. What was built
once from the same sources is kept in ``build/edge`` (in an installed package: in the user's cache folder).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tracker.address import Address
from tracker.device import DeviceKey
from tracker.edge_errors import EdgeBuildError, MissingToolError
from tracker.edge_runtime import (
    ARCHITECTURES,
    LIBRARIES,
    headers,
    libraries,
    move,
    versions,
)

PROGRAM: Final = "blinknet-agent"
SOURCES: Final = Path(__file__).parent / "edge"
_ROOT: Final = Path(__file__).resolve().parent.parent
_FLAGS: Final = ("-std=c++17", "-O2", "-s")
_LINKED: Final = (
    "-Wl,--no-as-needed",
    "-ltvm_runtime",
    "-ltvm_runtime_extra",
    "-ltvm_ffi",
    "-lm",
    "-Wl,-rpath,$ORIGIN",
)


def agent_command(
    architecture: str, tracker: Address, key: DeviceKey, host: str, cores: Sequence[int] | None = None
) -> list[str]:
    """The words that start the agent, which is built on first use; raises EdgeBuildError."""
    program = build(architecture) / PROGRAM
    words = [str(program), "--tracker", str(tracker), "--key", str(key), "--host", host]
    return words + (["--cores", ",".join(map(str, cores))] if cores is not None else [])


def build_folder() -> Path:
    """Where products are kept: in a clone below ``build``, which git ignores."""
    if (_ROOT / "pyproject.toml").is_file():
        return _ROOT / "build" / "edge"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blinknet" / "edge"


def build(architecture: str) -> Path:
    """The agent's folder for an architecture as ``uname -m`` names it, built unless it is there already.

    Raises EdgeBuildError: what is missing here, and what to install.
    """
    compile_command = compiler(architecture)
    folder = build_folder() / f"{architecture}-{_fingerprint(compile_command)}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
            new = Path(temporary, "agent")
            _assemble(architecture, compile_command, new)
            move(new, folder)
    return folder


def compiler(architecture: str) -> list[str]:
    """The C++ compiler for an architecture, as the first words of a command; raises EdgeBuildError."""
    if architecture not in ARCHITECTURES:
        raise EdgeBuildError(f"no agent for {architecture}; there are {', '.join(ARCHITECTURES)}")
    prefix = ARCHITECTURES[architecture]
    names = ["g++", "clang++", "c++"] if architecture == platform.machine() else [f"{prefix}-g++"]
    if found := next(filter(None, map(shutil.which, names)), None):
        return [found]
    if find_spec("ziglang") is not None:
        # Its linker wants to see every library that TVM's need themselves.
        return [sys.executable, "-m", "ziglang", "c++", "-target", prefix, "-Wl,--allow-shlib-undefined"]
    package = "g++" if architecture == platform.machine() else f"g++-{prefix.replace('_', '-')}"
    raise MissingToolError(
        f"nothing here compiles C++ for {architecture} (looked for {', '.join(names)}, ziglang): "
        f"run `apt install {package}`, or `pip install 'blinknet[cross]'`"
    )


def _fingerprint(compile_command: Sequence[str]) -> str:
    """Equal for products that would be equal."""
    content = hashlib.sha256(" ".join((*compile_command, *_FLAGS, *_LINKED, *versions())).encode())
    for path in sorted(each for each in SOURCES.rglob("*") if each.is_file()):
        content.update(path.name.encode() + b"\0" + path.read_bytes())
    return content.hexdigest()[:12]


def _assemble(architecture: str, compile_command: Sequence[str], folder: Path) -> None:
    """Everything that goes to the board."""
    folder.mkdir()
    for library in libraries(architecture, compile_command, build_folder()):
        shutil.copy(library, folder)
    sources = sorted(map(str, SOURCES.glob("*.cc")))
    output = ["-o", str(folder / PROGRAM), f"-L{folder}", *_LINKED]
    command = [*compile_command, *_FLAGS, "-isystem", str(headers()), *sources, *output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeBuildError(f"the agent does not compile: run `{' '.join(command)}`\n{done.stderr.strip()}")
    shutil.copy(SOURCES / "blinknet-device.service", folder)
    (folder / "README").write_text(_readme(architecture, folder))


def _readme(architecture: str, folder: Path) -> str:
    text = (SOURCES / "README.in").read_text()
    needed = {name: _newest(folder, name) for name in ("GLIBC", "GLIBCXX")}
    return text.format(architecture=architecture, versions=", ".join(versions()), **needed)


def _newest(folder: Path, library: str) -> str:
    """The newest of a library's versions that a file of the folder asks for: what the board must have."""
    pattern = re.compile(rf"\0{library}_([0-9.]+)\0".encode())
    found = {
        match.decode() for name in (PROGRAM, *LIBRARIES) for match in pattern.findall(_content(folder / name))
    }
    return str(max(found, key=lambda each: [int(part) for part in each.split(".")]))


def _content(path: Path) -> bytes:
    # Neighbouring strings share a zero byte.
    return path.read_bytes().replace(b"\0", b"\0\0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds for one architecture; 2 where something is missing."""
    parser = argparse.ArgumentParser(
        prog="scripts/build-edge-agent", description="Build the device agent for a machine without Python."
    )
    parser.add_argument("architecture", metavar="ARCH", help=", ".join(ARCHITECTURES))
    parser.add_argument(
        "--out", type=Path, help="copy the agent's folder to this place, which must not exist"
    )
    options = parser.parse_args(arguments)
    try:
        folder = build(options.architecture)
        if options.out is not None:
            folder = Path(shutil.copytree(folder, options.out))
    except EdgeBuildError as error:
        print(error, file=sys.stderr)
        return 2
    except FileExistsError:
        print(f"{options.out} exists; name another folder with --out", file=sys.stderr)
        return 2
    size = sum(each.stat().st_size for each in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB, the program {(folder / PROGRAM).stat().st_size / 1e3:.0f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
