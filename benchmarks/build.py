"""How fast our engine builds, on one core: ``python -m benchmarks.build [--quick]``.

Kernels are built by the library, as the workers of a run do it: a sample, evenly spread over all that a run
of VGG-16 may build. Networks are assembled and compiled whole, exact and in int8 throughout, parameters
packed but not fitted; the fastest of some rounds counts. What cannot be read yet is named with its reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.machine import cpu_name, keep_to_one_core, versions

if TYPE_CHECKING:
    from benchmarks.build_times import KernelTimes, NetworkTimes

KERNELS_OF = "vgg16"
NETWORKS = ("vgg16", "resnet50")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.build", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer libraries and rounds: under a minute")
    quick = parser.parse_args(arguments).quick
    core = keep_to_one_core()
    # Only now: importing numpy, which everything else needs, counts cores.
    from network.errors import NetworkError

    try:
        _run(core, quick)
    except NetworkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(core: int, quick: bool) -> None:
    from benchmarks.build_times import kernel_times, network_times

    libraries, rounds = (4, 1) if quick else (32, 5)
    print(f"{cpu_name()}, core {core}; {libraries} libraries, {rounds} rounds a network", flush=True)
    kernels = kernel_times(KERNELS_OF, libraries)
    networks = [network_times(name, rounds) for name in NETWORKS]
    report(kernels, networks)
    installed = versions(("apache-tvm", "numpy"))
    print(json.dumps(figures(kernels, networks) | {"cpu": cpu_name(), "versions": installed, "quick": quick}))


def report(kernels: KernelTimes, networks: Sequence[NetworkTimes]) -> None:
    """A table, and what was left out."""
    from benchmarks.build_times import APPROXIMATIONS, BATCH
    from cluster.tables import console, plain_table

    screen, table = console(), plain_table("built", right=("seconds",))
    table.add_row(f"a kernel of {KERNELS_OF}, {BATCH} a library", f"{kernels.per_kernel_s:.3f}")
    for network in networks:
        for approximation in APPROXIMATIONS:
            seconds = network.seconds.get(approximation)
            table.add_row(f"{network.name} {approximation}", "" if seconds is None else f"{seconds:.3f}")
    screen.print(table)
    screen.print(f"{KERNELS_OF} has {kernels.variants} variants of {kernels.requests} kernels with tiles")
    for network in networks:
        if network.refused:
            screen.print(f"{network.name} is left out: {network.refused}", markup=False)


def figures(kernels: KernelTimes, networks: Sequence[NetworkTimes]) -> dict[str, Any]:
    """What the last line says, in seconds; a network counts with its slowest approximation."""
    return {
        "benchmark": "build",
        "build_s_per_variant": kernels.per_kernel_s,
        "variants": kernels.variants,
        "requests": kernels.requests,
        **{f"{each.name}_s": each.slowest_s for each in networks},
        "networks": {each.name: dict(each.seconds) for each in networks},
        "refused": {each.name: each.refused for each in networks if each.refused},
    }


if __name__ == "__main__":
    sys.exit(main())
