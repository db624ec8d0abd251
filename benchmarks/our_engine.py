"""Our side: a network in one approximation throughout, as a bundle that the runtime loads, as on a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm.runtime.vm import VirtualMachine

import runtime
from benchmarks.interleave import Block
from benchmarks.kernel_times import fastest, kernel_blocks
from cluster.planning import ClassPlan, plan_class
from cluster.table import Candidate, StepChoices
from network.approximations import Catalogue, catalogue
from network.assemble import Assembled, Choice, assemble
from network.layers import Network
from network.samples import Samples
from network.target import Target
from runtime.bundle import Bundle, write_bundle
from runtime.configuration import Configuration, Costs
from runtime.session import Session

APPROXIMATIONS = ("exact", "int8")


@dataclass(frozen=True, slots=True)
class Engine:
    """One configuration, loaded as a user loads it, and what its time consists of."""

    session: Session
    machine: Callable[[NDArray[np.float32], int], float]
    """Seconds of one of so many runs of the relax VM on a sample, in a loop without Python."""
    kernels: Block
    """Its kernels, each in a loop of its own: the sum."""


@dataclass(frozen=True, slots=True, eq=False)
class _Workshop:
    """A network's variants with their kernels, compiled for this machine."""

    known: Catalogue
    plan: ClassPlan
    blocks: Mapping[str, Block]
    """By request."""

    def engine(self, approximation: str, folder: Path) -> Engine:
        """The approximation in every layer that has it, with the fastest tile of each kernel."""
        candidates = self.plan.table.uniform(approximation)
        steps = dict.fromkeys(step for each in candidates for step in each.steps)
        best = {step: fastest(self.blocks, step.requests) for step in steps}
        choices = {each.layer: self._choice(each, best) for each in candidates}
        assembled = assemble(self.known.network, choices, self.plan.target, folder / "network.so")
        bundle = self._bundle(assembled, folder / "bundle")
        chosen = [self.blocks[step.requests[best[step]]] for each in candidates for step in each.steps]
        session = runtime.load(bundle.folder)
        return Engine(session, _machine(bundle), lambda runs: sum(seconds(runs) for seconds in chosen))

    def _choice(self, candidate: Candidate, best: Mapping[StepChoices, int]) -> Choice:
        variant = self.known.variant(candidate.layer, candidate.key)
        return Choice(self.known.fitted(variant), tuple(step.tiles[best[step]] for step in candidate.steps))

    def _bundle(self, assembled: Assembled, folder: Path) -> Bundle:
        """Its manifest says nothing of layers and costs: nobody asks this one."""
        network, target = self.known.network, self.plan.target
        costs = Costs(latency_s=0.0, peak_bytes=0, storage_bytes=0, loss_pp=0.0)
        return write_bundle(
            folder,
            assembled.path,
            assembled.parameters,
            Configuration(network.name, network.sha256, "host", "local", target.key, (), costs),
            None,
            input_shape=(1, *network.input_shape),
            output_shape=(1, network.output_size),
            requires=target.isa.requires,
        )


def engines(network: Network, samples: Samples, folder: Path) -> dict[str, Engine]:
    """The network exact and in int8 throughout, the latter fitted to the samples; bundles go to ``folder``.

    Raises NetworkError where this machine is no target.
    """
    known = catalogue(network, samples, ["int8"])
    plan = plan_class("host", Target.host(), known)
    kernels = {
        request: plan.kernels[request]
        for name in APPROXIMATIONS
        for candidate in plan.table.uniform(name)
        for step in candidate.steps
        for request in step.requests
    }
    blocks = kernel_blocks(kernels, plan.target, folder / "kernels.so")
    workshop = _Workshop(known, plan, blocks)
    return {name: workshop.engine(name, folder / name) for name in APPROXIMATIONS}


def _machine(bundle: Bundle) -> Callable[[NDArray[np.float32], int], float]:
    device = tvm.cpu(0)
    machine = VirtualMachine(tvm.runtime.load_module(str(bundle.library)), device)
    parameters = [tvm.runtime.from_dlpack(each) for each in bundle.parameters()]

    def seconds(x: NDArray[np.float32], runs: int) -> float:
        timed = machine.time_evaluator("main", device, number=runs)
        return float(timed(tvm.runtime.tensor(x), *parameters).mean)

    return seconds
