"""TVM's own way to time kernels on devices: MetaSchedule's LocalBuilder and RPCRunner, as documented."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal

from benchmarks.throughput_fleet import ClassWork
from benchmarks.throughput_ours import Medians
from network.errors import NetworkError
from network.target import Target
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.timing import ArgumentSpec

Export = Literal["default", "shared"]
"""TVM's ``default_export`` leaves linking to the device; ``shared`` links here, as ours."""
SESSION_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Effort:
    """MetaSchedule's ``EvaluatorConfig``.

    A first call does not count; then ``repeat`` times ``number`` calls, more where they take less than
    ``min_repeat_ms``.
    """

    number: int
    repeat: int
    min_repeat_ms: int


@cache
def default_effort() -> Effort:
    """What MetaSchedule spends unless told otherwise."""
    from tvm.s_tir.meta_schedule.runner import EvaluatorConfig

    config = EvaluatorConfig()
    return Effort(config.number, config.repeat, config.min_repeat_ms)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to use RPCRunner."""

    export: Export
    workers: int
    own_effort: bool = False
    """As by default, instead of ours."""

    @property
    def name(self) -> str:
        """For people."""
        linked = {"default": "", "shared": ", linked on the host"}[self.export]
        effort = ", its own effort" if self.own_effort else ""
        return f"RPCRunner, workers a device: {self.workers}{linked}{effort}"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One kernel as TVM ships it: a file of its own."""

    request: str
    path: str
    arguments: Sequence[ArgumentSpec]


class Rivals:
    """What was built for each device, and runners that are ready."""

    def __init__(
        self,
        artifacts: Mapping[Export, Mapping[DeviceKey, Sequence[Artifact]]],
        runners: Mapping[int, Mapping[DeviceKey, Any]],
        building_s: float,
    ) -> None:
        self.building_s = building_s
        """Of LocalBuilder with ``default_export``, everything from source."""
        self._artifacts = artifacts
        self._runners = runners

    def warm_up(self) -> None:
        """One artifact for each worker of each device, so that every worker has imported TVM."""
        for workers in self._runners:
            first = {device: [several[0]] * workers for device, several in self._any_artifacts().items()}
            self._run(workers, Effort(1, 1, 0), first)

    def run(self, way: Way, effort: Effort) -> tuple[float, Medians]:
        """Seconds, and the median of each kernel's repeats; all devices at once.

        Raises RuntimeError for a failure.
        """
        work = self._artifacts[way.export]
        start = perf_counter()
        found = self._run(way.workers, effort, work)
        seconds = perf_counter() - start
        return seconds, {
            (device, artifact.request): median(repeats)
            for device, several in work.items()
            for artifact, repeats in zip(several, found[device], strict=True)
        }

    def _any_artifacts(self) -> Mapping[DeviceKey, Sequence[Artifact]]:
        return next(iter(self._artifacts.values()))

    def _run(
        self, workers: int, effort: Effort, work: Mapping[DeviceKey, Sequence[Artifact]]
    ) -> dict[DeviceKey, list[tuple[float, ...]]]:
        from tvm.s_tir.meta_schedule.runner import EvaluatorConfig

        started = {}
        for device, artifacts in work.items():
            runner = self._runners[workers][device]
            runner.evaluator_config = EvaluatorConfig(effort.number, effort.repeat, effort.min_repeat_ms)
            started[device] = runner.run([_runner_input(each) for each in artifacts])
        return {device: [_seconds(each.result()) for each in several] for device, several in started.items()}


@contextmanager
def rivals(
    tracker: Address,
    work: Mapping[str, ClassWork],
    shares: Mapping[DeviceKey, Sequence[str]],
    exports: Sequence[Export],
    workers: Sequence[int],
    builders: int,
) -> Iterator[Rivals]:
    """Everything is built, every worker has timed once; all is removed and ended at the end of the block."""
    with ExitStack() as stack:
        artifacts, building_s = {}, 0.0
        for export in exports:
            start = perf_counter()
            artifacts[export] = _built(stack, work, shares, export, builders)
            building_s = building_s or perf_counter() - start
        runners = {count: _runners(stack, tracker, list(shares), count) for count in workers}
        ready = Rivals(artifacts, runners, building_s)
        ready.warm_up()
        yield ready


def _runners(
    stack: ExitStack, tracker: Address, devices: Sequence[DeviceKey], workers: int
) -> dict[DeviceKey, Any]:
    """An RPCRunner for each device: a key is one unit's own, so that no other one may answer."""
    from tvm.s_tir.meta_schedule.runner import RPCConfig, RPCRunner

    runners = {}
    for device in devices:
        config = RPCConfig(tracker.host, tracker.port, str(device), session_timeout_sec=SESSION_TIMEOUT_S)
        runners[device] = RPCRunner(config, max_workers=workers)
        stack.callback(runners[device].pool.shutdown)
    return runners


def _built(
    stack: ExitStack,
    work: Mapping[str, ClassWork],
    shares: Mapping[DeviceKey, Sequence[str]],
    export: Export,
    builders: int,
) -> dict[DeviceKey, list[Artifact]]:
    """A file for each kernel, by LocalBuilder; raises NetworkError for the first that does not compile."""
    import tvm
    from tvm.s_tir.meta_schedule.builder import BuilderInput, LocalBuilder

    inputs, places = [], []
    for device, requests in shares.items():
        target, kernels = work[device.device_class].target, work[device.device_class].kernels
        for request in requests:
            kernel, tile = kernels[request]
            function = kernel.prim_func(target.isa, tile).with_attr("global_symbol", "main")
            inputs.append(BuilderInput(tvm.IRModule({"main": function}), target.to_tvm()))
            places.append((device, request, kernel.arguments(target.isa)))
    export_with = {"default": None, "shared": export_shared}[export]
    builder = LocalBuilder(max_workers=builders, f_build=build_as_ours, f_export=export_with)
    artifacts: dict[DeviceKey, list[Artifact]] = {device: [] for device in shares}
    for (device, request, arguments), result in zip(places, builder.build(inputs), strict=True):
        if result.error_msg:
            raise NetworkError(f"MetaSchedule's builder cannot build {request}: {result.error_msg}")
        path = str(result.artifact_path)
        stack.callback(shutil.rmtree, Path(path).parent, ignore_errors=True)
        artifacts[device].append(Artifact(request, path, arguments))
    return artifacts


def build_as_ours(module: Any, target: Any, _parameters: Any) -> Any:
    """Compile with our passes, so that both sides time the same code; runs in the builder's worker."""
    import tvm

    from network.lowering import pipeline, unchecked

    with unchecked():
        return tvm.compile(module, target=target, tir_pipeline=pipeline()).mod


def export_shared(module: Any) -> str:
    """Link for this machine; runs in the builder's worker."""
    from network.link import linker

    path = Path(tempfile.mkdtemp()) / "tvm_tmp_mod.so"
    module.export_library(str(path), fcompile=linker(Target.host().mtriple))
    return str(path)


def _runner_input(artifact: Artifact) -> Any:
    from tvm.s_tir.meta_schedule.arg_info import TensorInfo
    from tvm.s_tir.meta_schedule.runner import RunnerInput

    arguments = [TensorInfo(each.dtype, each.shape) for each in artifact.arguments]
    return RunnerInput(artifact.path, "cpu", arguments)


def _seconds(result: Any) -> tuple[float, ...]:
    if result.error_msg:
        raise RuntimeError(f"MetaSchedule's runner: {result.error_msg}")
    return tuple(float(each) for each in result.run_secs)
