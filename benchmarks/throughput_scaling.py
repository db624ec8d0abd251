"""Whether sixteen devices get sixteen times as much done as one, where only devices take time.

Their kernel waits and computes nothing, so that they need no core of this machine. Each is driven as by its
actor, here from a thread: sessions are processes of their own anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.throughput_fleet import start_agents
from network.link import linker
from network.target import Target
from tracker.device import DeviceKey
from tracker.timing import Argument, TimingPolicy
from tracker.tracker import TrackerProcess
from workers.build import Library
from workers.device import DeviceDriver

WAIT_US = 20_000
ARGUMENTS = (Argument((1,), "int32", "zeros"),) * 2


def scaling(devices: int, cores: Sequence[int], kernels: int, batches: int, rounds: int) -> float:
    """Kernels a second of so many devices over as many times those of one; a median over rounds.

    Each device times ``batches`` libraries of ``kernels``; they are spread over ``cores``.
    """
    library = waiting_library(kernels)
    keys = [DeviceKey("waiting", f"unit-{index}") for index in range(devices)]
    with ExitStack() as stack:
        tracker = stack.enter_context(TrackerProcess.start())
        start_agents(stack, tracker.address, keys, list(islice(cycle(cores), devices)))
        drivers = [DeviceDriver(tracker.address, each) for each in keys]
        _seconds(drivers, library, 1)
        return median(
            _seconds(drivers[:1], library, batches) / _seconds(drivers, library, batches)
            for _ in range(rounds)
        )


def waiting_library(kernels: int) -> Library:
    """Requests that all wait for ``WAIT_US``."""
    import tvm
    from tvm import te

    one = te.placeholder((1,), "int32", name="one")
    wait = te.compute((1,), lambda _: tvm.tirx.call_extern("int32", "usleep", WAIT_US))
    function = te.create_prim_func([one, wait]).with_attr("global_symbol", "wait")
    target = Target.host()
    with TemporaryDirectory(prefix="blinknet-benchmark-") as folder:
        path = Path(folder) / "wait.so"
        built = tvm.compile(tvm.IRModule({"wait": function}), target.to_tvm())
        built.export_library(str(path), fcompile=linker(target.mtriple))
        return Library(path.read_bytes(), {f"wait {index}": "wait" for index in range(kernels)}, {})


def _seconds(drivers: Sequence[DeviceDriver], library: Library, batches: int) -> float:
    """Until every device is through; raises RuntimeError where one fails."""

    def drive(driver: DeviceDriver) -> None:
        for _ in range(batches):
            result = driver.measure(library, dict.fromkeys(library.symbols, ARGUMENTS), TimingPolicy())
            if result.failure:
                raise RuntimeError(f"{driver.key}: {result.failure}")

    start = perf_counter()
    with ThreadPoolExecutor(len(drivers)) as pool:
        list(pool.map(drive, drivers))
    return perf_counter() - start
