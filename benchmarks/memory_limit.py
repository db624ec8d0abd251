"""Finds the memory limit at which a network still runs, and compares it with the peak that is counted.

``python -m benchmarks.memory_limit`` assembles the exact configurations of the examples for this machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from network.approximations import catalogue
from network.onnx_import import load
from network.samples import Samples
from network.target import Target
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.failure import SessionFailed
from tracker.session import Session
from tracker.tracker import TrackerProcess
from workers.build import assemble_executable

EXAMPLES = Path(__file__).parents[1] / "examples"
NETWORKS = ("cifar10_quick", "vgg16")
DEVICE = DeviceKey("here", "one")
STEP_BYTES = 4096
RUNS = 20


def least_limit(runs_within: Callable[[int], bool], fails_at: int, holds_at: int) -> int:
    """The least limit that a network runs within, to a page."""
    while holds_at - fails_at > STEP_BYTES:
        middle = (fails_at + holds_at) // 2
        fails_at, holds_at = (fails_at, middle) if runs_within(middle) else (middle, holds_at)
    return holds_at


def compare(name: str, tracker: Address, folder: Path) -> tuple[int, int]:
    """Counted peak and least limit of an example's exact configuration, in bytes."""
    network, target = load(EXAMPLES / name / "model.onnx"), Target.host()
    shapes = list(network.input_shapes.values())
    x = np.random.default_rng(0).normal(size=(4, *shapes[0])).astype(np.float32)
    known = catalogue(network, Samples(x, np.zeros(4, np.int64)), [])
    fitted = {each.name: known.fitted(known.alone(each.name, "exact")) for each in network.layers}
    tiles = [[step.kernel.tiles(target.isa)[0] for step in each.steps] for each in fitted.values()]
    executable = assemble_executable(network, fitted, tiles, target, ())
    library = folder / f"{name}.so"
    library.write_bytes(executable.library)
    arguments = (library, executable.arrays, shapes, [each.shape for each in network.outputs])

    def runs_within(limit_bytes: int) -> bool:
        try:
            with Session.open(tracker, DEVICE) as session:
                return session.run_within(*arguments, limit_bytes, RUNS).enforced
        except SessionFailed:
            return False

    with Session.open(tracker, DEVICE) as session:
        peak = session.measure_peak(*arguments)
    return peak, least_limit(runs_within, peak // 2, 2 * peak)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory_limit", description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS, help=f"of {', '.join(NETWORKS)}")
    wanted = parser.parse_args(arguments).networks
    with (
        TemporaryDirectory() as folder,
        TrackerProcess.start() as tracker,
        AgentProcess.start(tracker.address, DEVICE),
    ):
        for name in wanted:
            peak, limit = compare(name, tracker.address, Path(folder))
            difference = (limit - peak) / 1024
            print(f"{name:16} counted peak {peak / 1024:6.0f} KiB, runs within it {difference:+.0f} KiB")


if __name__ == "__main__":
    main()
