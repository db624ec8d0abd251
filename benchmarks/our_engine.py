"""Our side: a network in one approximation throughout, as a bundle that the runtime loads, as on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import runtime
from benchmarks.kernel_times import TimedKernel, median_times, timed_kernels
from cluster.planning import ClassPlan, plan_class
from cluster.table import Candidate, StepChoices, Table
from network.approximations import Catalogue, catalogue
from network.assemble import Assembled, Choice, assemble
from network.kernels.conv2d import Conv2d
from network.kernels.depthwise import Depthwise
from network.kernels.winograd import Winograd
from network.layers import Network, with_batch
from network.samples import Samples
from network.target import Target
from runtime.bundle import Bundle, write_bundle
from runtime.configuration import Configuration, Costs
from runtime.session import Session

APPROXIMATIONS = ("exact", "int8")
SAME_RESULT = "winograd"
"""What stands in for exact wherever it is faster."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One configuration, loaded as a user loads it, and its kernels, each on its own."""

    session: Session
    target: Target
    steps: tuple[tuple[TimedKernel, int], ...]
    """For each kernel what times it, and the multiply-adds if it is a convolution: 0 for others."""

    def kernels(self, runs: int) -> float:
        """The sum of all kernels, their parameters as far away as in the network."""
        return sum(kernel.far(runs) for kernel, _ in self.steps)

    def convolutions(self, runs: int) -> float:
        """The sum of the convolutions, their parameters in the nearest cache."""
        return sum(kernel.near(runs) for kernel, macs in self.steps if macs)

    @property
    def convolution_macs(self) -> int:
        """Of all convolutions."""
        return sum(macs for _, macs in self.steps)


@dataclass(frozen=True, slots=True, eq=False)
class Workshop:
    """A network's variants, fitted to samples once for all targets."""

    known: Catalogue

    @classmethod
    def of(cls, network: Network, samples: Samples) -> Self:
        """Exact and int8 in every layer."""
        return cls(catalogue(network, samples, ["int8", SAME_RESULT]))

    def engines(self, threads: int, folder: Path) -> dict[str, Engine]:
        """The network exact and in int8 throughout, with so many threads; bundles go to ``folder``.

        Raises NetworkError where this machine is no target.
        """
        plan = plan_class("host", replace(Target.host(), threads=threads), self.known)
        offered = {name: _offered(plan.table, name) for name in APPROXIMATIONS}
        kernels = {
            request: plan.kernels[request]
            for layers in offered.values()
            for candidates in layers
            for candidate in candidates
            for step in candidate.steps
            for request in step.requests
        }
        parameters = sum(layer[0].parameter_bytes for layer in offered["exact"])
        timed = timed_kernels(kernels, plan.target, folder / "kernels.so", parameters)
        times = median_times(timed)
        return {name: self._engine(each, plan, timed, times, folder / name) for name, each in offered.items()}

    def _engine(
        self,
        offered: Sequence[Sequence[Candidate]],
        plan: ClassPlan,
        timed: Mapping[str, TimedKernel],
        times: Mapping[str, float],
        folder: Path,
    ) -> Engine:
        """The fastest that is offered in each layer, with the fastest tile of each kernel."""
        best = {
            step: step.requests.index(min(step.requests, key=times.__getitem__))
            for candidates in offered
            for each in candidates
            for step in each.steps
        }
        candidates = [
            min(each, key=lambda one: sum(times[step.requests[best[step]]] for step in one.steps))
            for each in offered
        ]
        choices = {each.layer: self._choice(each, best) for each in candidates}
        assembled = assemble(self.known.network, choices, plan.target, folder / "network.so")
        bundle = self._bundle(plan.target, assembled, folder / "bundle")
        chosen = [step.requests[best[step]] for each in candidates for step in each.steps]
        kernels = tuple((timed[each], _convolution_macs(plan, each)) for each in chosen)
        return Engine(runtime.load(bundle.folder), plan.target, kernels)

    def _choice(self, candidate: Candidate, best: Mapping[StepChoices, int]) -> Choice:
        variant = self.known.variant(candidate.layer, candidate.key)
        return Choice(self.known.fitted(variant), tuple(step.tiles[best[step]] for step in candidate.steps))

    def _bundle(self, target: Target, assembled: Assembled, folder: Path) -> Bundle:
        """Its manifest says nothing of layers and costs: nobody asks this one."""
        network = self.known.network
        costs = Costs(latency_s=0.0, peak_bytes=0, storage_bytes=0, loss_pp=0.0)
        return write_bundle(
            folder,
            assembled.path,
            assembled.parameters,
            Configuration(network.name, network.sha256, "host", "local", target.key, (), costs),
            None,
            input_shape=with_batch(network.input_shapes),
            output_shape=with_batch(network.output_shapes),
            requires=target.isa.requires,
        )


def _offered(table: Table, approximation: str) -> list[list[Candidate]]:
    """For every layer the approximation, and what has the same result in the same forms."""
    return [
        [uniform, *(each for each in others if _stands_in(each, uniform))]
        for uniform, others in zip(table.uniform(approximation), table.layers, strict=True)
    ]


def _stands_in(candidate: Candidate, exact: Candidate) -> bool:
    same = (candidate.reads, candidate.writes) == (exact.reads, exact.writes)
    return same and exact.approximation == "exact" and candidate.approximation.startswith(SAME_RESULT)


def _convolution_macs(plan: ClassPlan, request: str) -> int:
    """0 for what is no convolution; a dense layer, limited by memory, is none."""
    kernel, _ = plan.kernels[request]
    if isinstance(kernel, Winograd):
        return kernel.convolution.work(plan.target.isa).macs
    if not isinstance(kernel, Conv2d | Depthwise) or kernel.output_shape[:2] == (1, 1):
        return 0
    return kernel.work(plan.target.isa).macs
