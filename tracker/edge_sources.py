"""TVM's runtime built from its own sources, for processors that there are no wheels for.

TVM's wheels hold the sources of the runtime, but not the headers of its folder ``support``: what the runtime
uses of them is in ``tracker/edge/support``. Takes two to three minutes of processor time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tracker.edge_errors import EdgeBuildError

SUPPORT: Final = Path(__file__).parent / "edge" / "support"
_FLAGS: Final = (
    *("-std=c++17", "-O2", "-fPIC", "-w", "-fvisibility=hidden"),
    *("-DTVM_FFI_EXPORTS", "-DTVM_RUNTIME_EXPORTS"),
    *("-DTVM_FFI_USE_LIBBACKTRACE=0", "-DTVM_FFI_BACKTRACE_ON_SEGFAULT=0"),
)
# RISC-V has no instruction for atomic bytes; the board need not have the library that makes up for it.
_ATOMIC: Final = ("-Wl,--push-state,--as-needed,-Bstatic", "-latomic", "-Wl,--pop-state")
_LEFT_OUT: Final = ("builtin_fp16.cc", "static_library.cc")
"""Of ``tvm/src/runtime``: no kernel of ours calls half precision, and a device links nothing."""
_SOURCES: Final = {
    "libtvm_ffi.so": ("ffi/*.cc", "ffi/extra/*.cc"),
    "libtvm_runtime.so": (
        *("runtime/*.cc", "runtime/memory/*.cc", "support/*.cc"),
        *(f"runtime/vm/{name}.cc" for name in ("vm", "builtin", "executable", "bytecode")),
        *(
            f"runtime/rpc/rpc_{name}.cc"
            for name in (
                *("endpoint", "session", "channel", "event_impl"),
                *("local_session", "module", "server_env", "device_api"),
            )
        ),
    ),
    "libtvm_runtime_extra.so": ("runtime/extra/contrib/random/random.cc",),
}
"""Each library needs those before it."""


def build_libraries(command: Sequence[str], tvm: Path, ffi: Path, folder: Path) -> None:
    """Writes the libraries into ``folder``, compiled by ``command``; ``tvm`` and ``ffi`` are the packages.

    Raises EdgeBuildError.
    """
    work = folder / "work"
    includes = _lay_out(tvm, ffi, work)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, patterns in _SOURCES.items():
            sources = [each for pattern in patterns for each in sorted((work / "src").glob(pattern))]
            chosen = [each for each in sources if each.name not in _LEFT_OUT]
            compile_one = [*command, *_FLAGS, *includes]
            objects = pool.map(lambda path, words=compile_one: _compile(words, path), chosen)
            _link(command, name, list(objects), folder)
    shutil.rmtree(work)


def _lay_out(tvm: Path, ffi: Path, work: Path) -> list[str]:
    """Sources where they find each other; the compiler's options that say where headers are."""
    sources, headers = work / "src", work / "include" / "tvm"
    shutil.copytree(tvm / "src" / "runtime", sources / "runtime")
    shutil.copytree(ffi / "src" / "ffi", sources / "ffi")
    shutil.copytree(SUPPORT, sources / "support")
    headers.mkdir(parents=True)
    (headers / "support").symlink_to(sources / "support")
    folders = (work / "include", sources / "support", tvm / "include", ffi / "include")
    return [f"-I{each}" for each in folders]


def _compile(command: Sequence[str], source: Path) -> Path:
    result = source.with_suffix(".o")
    _run([*command, "-c", str(source), "-o", str(result)])
    return result


def _link(command: Sequence[str], name: str, objects: Sequence[Path], folder: Path) -> None:
    needed = [str(each) for each in _present(folder)]
    options = ["-shared", "-s", "-Wl,-z,defs", "-Wl,-rpath,$ORIGIN", f"-Wl,-soname,{name}"]
    libraries = [*needed, "-ldl", "-lpthread", *_ATOMIC]
    _run([*command, *options, "-o", str(folder / name), *map(str, objects), *libraries])


def _present(folder: Path) -> Iterator[Path]:
    return (folder / name for name in _SOURCES if (folder / name).exists())


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeBuildError(f"TVM's runtime cannot be built: `{' '.join(command)}`\n{done.stderr.strip()}")
