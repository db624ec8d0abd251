"""What a session of the agent offers besides TVM's own functions."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.facts import describe
from tracker.levels import Level
from tracker.memory_limit import limit_memory

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 32 * 1024
_CHUNK_BYTES: Final = 1 << 16


def import_tvm() -> None:
    """Loads TVM's runtime once, before sessions are forked: each is then ready in milliseconds."""
    os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")
    # Otherwise TVM pins each process with one thread to core 0, and two devices on one host halve each other.
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ.setdefault("TVM_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What a session needs is then in memory.
    from tvm.libinfo import package_lib_paths

    import tracker.session_timing  # noqa: F401

    extra = next(
        path for folder in package_lib_paths() if (path := folder / "libtvm_runtime_extra.so").exists()
    )
    ctypes.CDLL(str(extra), ctypes.RTLD_GLOBAL)  # random_fill lives there


def serve_session(fd: int, folder: Path, level: Level | None, emulated: bool = False) -> None:
    """Runs TVM's server loop on the connection until the client leaves."""
    import tvm.rpc.server

    _register(level, emulated)
    tvm.rpc.server._server_env(None, _Folder(folder))
    tvm.rpc.server._ffi_api.ServerLoop(fd)


class _Folder:
    """The part of ``tvm.support.utils.TempDirectory`` that the server's functions use."""

    def __init__(self, path: Path) -> None:
        self.temp_dir = str(path)
        self.libs: list[ctypes.CDLL] = []

    def relpath(self, name: str) -> str:
        return os.path.join(self.temp_dir, name)


def _register(level: Level | None, emulated: bool) -> None:
    from tvm_ffi import register_global_func

    from tracker.session_timing import OwnTiming

    def description() -> str:
        return describe(read_text, platform.machine(), "blinknet", level, emulated).to_json()

    for name, function in (
        ("describe", description),
        ("reset_peak", reset_peak),
        ("peak_bytes", peak_bytes),
        ("resident_bytes", resident_bytes),
        ("limit_memory", limit_memory),
        ("checksum", checksum),
        ("read_text", read_text),
        ("trim", trim),
        ("time_function", OwnTiming()),
        ("predict", predict),
        ("predict_several", predict_several),
    ):
        register_global_func(f"blinknet.{name}", function, override=True)


def read_text(path: str) -> str:
    """A file of this machine; the empty text when it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def checksum(name: str) -> str:
    """The CRC-32 (zlib's) of a file that was uploaded in this session, as eight hexadecimal digits.

    Against transfers that were cut off or disks that are full; TLS is what guards against attackers.
    """
    value = 0
    with (Path.cwd() / Path(name).name).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return f"{value:08x}"


def trim() -> None:
    """Gives free heap pages back to the kernel, and lets large blocks come from it and go back by themselves.

    Without that glibc raises its threshold with every large block that is freed and keeps the next ones. It
    is for measuring memory: timings run with the allocator as a deployed network finds it.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    libc.mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
    gc.collect()
    libc.malloc_trim(0)


def predict(machine: Any, inputs: Any, outputs: Any, sample: Any, *parameters: Any) -> None:
    """Runs ``main(sample, *parameters)`` for every row of ``inputs``, here, without a round trip a row."""
    main = machine["main"]
    rows, results, one = _view(inputs), _view(outputs), _view(sample)
    for index in range(len(rows)):
        one[0] = rows[index]
        results[index] = np.from_dlpack(main(sample, *parameters))[0]


def predict_several(machine: Any, inputs: int, outputs: int, *tensors: Any) -> None:
    """The same for several: batches of samples and of answers, a sample of each input, parameters."""
    main, split = machine["main"], inputs + outputs
    given, answers = ([_view(each) for each in part] for part in (tensors[:inputs], tensors[inputs:split]))
    arguments = tensors[split:]
    ones = [_view(each) for each in arguments[:inputs]]
    for index in range(len(given[0])):
        for one, samples in zip(ones, given, strict=True):
            one[0] = samples[index]
        results = main(*arguments)
        for answer, result in zip(answers, results if outputs > 1 else (results,), strict=True):
            answer[index] = np.from_dlpack(result)[0]


def _view(tensor: Any) -> NDArray[np.float32]:
    """A float32 tensor that RPC lends for a call; it has no owner, so DLPack cannot hand it over."""
    content = (ctypes.c_float * int(np.prod(tensor.shape))).from_address(tensor.data_ptr())
    return np.ctypeslib.as_array(content).reshape(tensor.shape)


def reset_peak() -> None:
    """Starts counting this process's peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The largest resident size since ``reset_peak``; Linux counts it per core, up to ~100 KB off."""
    return _kilobytes("/proc/self/status", "VmHWM")


def resident_bytes() -> int:
    """The resident size of this process now, exact."""
    return _kilobytes("/proc/self/smaps_rollup", "Rss")


def _kilobytes(path: str, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", read_text(path), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
