"""Our engine against ONNX Runtime: ``python -m benchmarks.engine [--quick] [NETWORK ...]``.

Contenders are our exact float32 and all-int8 configurations and ONNX Runtime with float32 and static int8, on
the shipped networks and on well-known ones with random weights, with one thread and with all cores. All four
run interleaved in one process. Ours run as a user runs them: a bundle on disk, ``runtime.load``,
``Session.run`` on a numpy array, copies included. ONNX Runtime runs with I/O binding: its sample is in place
before the clock starts, and its outputs stay where they are.

With one thread two more figures: the sum of our kernels, each on its own with parameters as far away as in
the network, and what share of the processor's measured multiply-add rate our convolutions reach when they are
near. Winograd's algorithm counts as exact, and its convolution as the multiply-adds that it stands for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from benchmarks.machine import cpu_name, use_all_cores, versions

QUICK = ("cifar10_quick", "vgg16", "mobilenet_v2")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three networks and fewer rounds: a minute")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="only these")
    options = parser.parse_args(arguments)
    if find_spec("onnxruntime") is None:
        print("onnxruntime is not installed; run `pip install 'blinknet[bench]'`", file=sys.stderr)
        return 2
    cores = use_all_cores()
    # Only now: importing numpy, which everything else needs, counts cores.
    from benchmarks.networks import NETWORKS, SHIPPED
    from network.errors import NetworkError

    known = (*SHIPPED, *NETWORKS)
    if unknown := [each for each in options.networks if each not in known]:
        print(f"no network {', '.join(unknown)}; choose from {', '.join(known)}", file=sys.stderr)
        return 2
    try:
        _run(options.networks or (QUICK if options.quick else known), cores, options.quick)
    except NetworkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(networks: Sequence[str], cores: tuple[int, ...], quick: bool) -> None:
    from benchmarks.contest import Effort, compete
    from benchmarks.engine_report import lines, to_dict

    effort = Effort(1.0, 64, 1000) if quick else Effort(2.0, 512, 10_000)
    print(f"{cpu_name()}, cores {', '.join(map(str, cores))}", flush=True)
    results = []
    for name in networks:
        for result in compete(name, effort, cores):
            results.append(result)
            print("", *lines(result), sep="\n", flush=True)
    installed = versions(("apache-tvm", "onnxruntime", "numpy"))
    print(json.dumps(to_dict(results, cpu_name(), installed) | {"quick": quick}))


if __name__ == "__main__":
    sys.exit(main())
