"""The machine that a benchmark runs on: its cores, its name, what is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

SINGLE_THREAD = {
    "TVM_NUM_THREADS": "1",
    # TVM would pin a process with one thread to core 0, whatever core it was given.
    "TVM_BIND_THREADS": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def keep_to_one_core() -> int:
    """Pin this process and every thread that it will start to one core; gives the core.

    Libraries read how many threads to start when they are imported, so this comes before numpy, TVM and ONNX
    Runtime: raises RuntimeError where one of them is there already.
    """
    _limit_threads(1)
    # The last one: interrupts and most other processes are on the first.
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def use_all_cores() -> tuple[int, ...]:
    """Let TVM's kernels have a thread for every core that this process may use; gives the cores.

    Raises RuntimeError as ``keep_to_one_core`` does.
    """
    cores = tuple(sorted(os.sched_getaffinity(0)))
    _limit_threads(len(cores))
    return cores


@contextmanager
def kept_to(cores: Iterable[int]) -> Iterator[None]:
    """Pin this thread, and those that it starts meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _limit_threads(count: int) -> None:
    if early := sorted({"numpy", "tvm", "onnxruntime"} & set(sys.modules)):
        raise RuntimeError(f"{', '.join(early)} imported before the process was pinned; pin it first")
    os.environ.update(SINGLE_THREAD | {"TVM_NUM_THREADS": str(count)})


def other_load(seconds: float = 1.0) -> float:
    """The share of all cores' time that others take while this process sleeps for so long."""
    import psutil

    return float(psutil.cpu_percent(seconds)) / 100


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor as Linux names it; its architecture where Linux does not."""
    named = (line.partition(":") for line in cpuinfo.read_text().splitlines())
    names = (value.strip() for key, _, value in named if key.strip() == "model name")
    return next(names, os.uname().machine)


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """What is installed, by distribution."""
    return {name: version(name) for name in distributions}
