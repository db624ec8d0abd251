"""Small jobs for tests, and the command line as a user runs it: a process of its own."""

import os
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import numpy as np
import psutil

from examples.data import Samples
from tests.network.onnx_files import chain, save
from tests.tracker.servers import wait_until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CIFAR10_QUICK = EXAMPLES / "cifar10_quick" / "model.onnx"
SCALE = 1 / 255
BOUNDS = "latency: 80%@p50, memory: 60%, loss: 20pp"
"""Kept with room to spare; of the median, because whoever tests may use the machine meanwhile."""
MARK = "BLINKNET_TEST_MARK"


@dataclass(frozen=True)
class Job:
    """A run file and the folder that its outputs go to."""

    run_file: Path
    out: Path

    @property
    def folder(self) -> Path:
        return self.out / "small"

    @property
    def store(self) -> Path:
        return self.folder / "measurements.sqlite"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("run", str(self.run_file), "--out", str(self.out))


def fashion_mnist(folder: Path, calibration: int = 200, evaluation: int = 300) -> None:
    """The first so many of both sets."""
    for name, count in (("calibration", calibration), ("evaluation", evaluation)):
        samples = Samples.load(EXAMPLES / "fashion_mnist" / f"{name}.npz")
        samples[np.arange(count)].save(folder / f"{name}.npz")


def tiny_network(path: Path) -> Path:
    """One convolution and one dense layer on 28x28 pixels, ten classes."""
    random = np.random.default_rng(5)
    weights = {
        "w": random.normal(size=(8, 1, 3, 3)).astype(np.float32),
        "d": random.normal(0, 0.1, size=(10, 8 * 13 * 13)).astype(np.float32),
    }
    pool = ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]})
    flat = (("Flatten", [], {}), ("Gemm", ["d"], {"transB": 1}))
    nodes = chain(("Conv", ["w"], {}), ("Relu", [], {}), pool, *flat)
    return save(path, nodes, weights, shape=(1, 1, 28, 28))


def write_job(folder: Path, device_class: str, bounds: str = BOUNDS, network: Path = CIFAR10_QUICK) -> Job:
    """Arrays and a run file with small budgets in ``folder``."""
    fashion_mnist(folder)
    run_file = folder / "run.yaml"
    run_file.write_text(
        dedent(f"""\
            name: small
            network: {network}
            samples: {{calibration: calibration.npz, evaluation: evaluation.npz, scale: {SCALE}}}
            devices:
              {device_class}:
                bounds: {{{bounds}}}
            approximations: [int8, channels]
            degrees: ["1/2"]
            measure: {{relative_ci: 0.1, budget_s: 0.02}}
            accuracy: {{fit_samples: 32, samples: 100}}
            verify: {{runs: 100, rounds: 2}}
            """)
    )
    return Job(run_file, folder / "out")


class CommandLine:
    """Runs ``python -m cluster`` from the project's folder and knows every process that came of it."""

    def __init__(self, folder: Path = ROOT) -> None:
        """``folder``: where the commands run, and find a ``ray_config.yaml``."""
        self._mark = uuid.uuid4().hex
        self._folder = folder
        self.environment = {**os.environ, MARK: self._mark, "PYTHONPATH": str(ROOT)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In the background; its output is one stream."""
        return subprocess.Popen(
            [sys.executable, "-m", "cluster", *arguments],
            cwd=self._folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, timeout_s: float = 120.0) -> str:
        """Its output; fails where it ends with another exit code."""
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError(f"{arguments} is not through after {timeout_s} s:\n{output}") from None
        assert process.returncode == code, f"{arguments} ended with {process.returncode}:\n{output}"
        return output

    def left_behind(self) -> Sequence[str]:
        """Processes of these commands that still live, after a moment's grace."""
        wait_until(lambda: not self._alive(), 15.0)
        return [" ".join(each.cmdline()) for each in self._alive()]

    def _alive(self) -> list[psutil.Process]:
        return [each for each in psutil.process_iter() if _environment(each).get(MARK) == self._mark]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return {} if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except psutil.Error:
        return {}
