"""Our engine against ONNX Runtime on one core: ``python -m benchmarks.engine [--quick]``.

Contenders are our exact float32 and all-int8 configurations and ONNX Runtime with float32 and static int8, on
the shipped networks. All run interleaved in one process that is pinned to one core. Ours run as a user runs
them: a bundle on disk, ``runtime.load``, ``Session.run`` on a numpy array, copies included. ONNX Runtime runs
with I/O binding: its sample is in place before the clock starts, and its logits stay where they are.

Two more lines for each of ours say where the time goes: the relax VM's ``main`` in a loop without Python, and
the sum of its kernels, each in a loop of its own, with its parameters in the nearest cache.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.machine import cpu_name, keep_to_one_core, versions

EXAMPLES = Path(__file__).parents[1] / "examples"
NETWORKS = ("cifar10_quick", "vgg16")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and samples: under a minute")
    quick = parser.parse_args(arguments).quick
    if find_spec("onnxruntime") is None:
        print("onnxruntime is not installed; run `pip install 'blinknet[bench]'`", file=sys.stderr)
        return 2
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
    from benchmarks.contest import Effort, compete
    from benchmarks.engine_report import lines, to_dict

    effort = Effort(60, 10, 512, 1000) if quick else Effort(300, 20, 5000, 10_000)
    print(f"{cpu_name()}, core {core}; {effort.rounds} rounds of {effort.runs} runs", flush=True)
    results = []
    for name in NETWORKS:
        results.append(compete(EXAMPLES / name / "model.onnx", EXAMPLES / "fashion_mnist", effort))
        print("", *lines(results[-1]), sep="\n", flush=True)
    installed = versions(("apache-tvm", "onnxruntime", "numpy"))
    print(json.dumps(to_dict(results, cpu_name(), installed) | {"quick": quick}))


if __name__ == "__main__":
    sys.exit(main())
