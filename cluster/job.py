"""A run before anything is measured: what the run file names, loaded, checked, and turned into variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cluster.errors import ClusterError
from cluster.planning import ClassPlan, plan_class
from cluster.settings import DeviceSettings, RunFile
from cost_model.felt import EXACT, Pair, Trait, anchors
from network.approximations import Catalogue, catalogue, parse
from network.layers import Network
from network.onnx_import import load
from network.samples import Samples, load_samples
from network.target import Target, triple
from tracker.device import Description


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What a run file names, read and checked."""

    network: Network
    calibration: Samples
    evaluation: Samples


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The network with its samples and all its variants: the same for every device class."""

    known: Catalogue
    calibration: Samples
    evaluation: Samples
    traits: Mapping[Pair, Trait]
    """Of every approximation but exact."""
    anchors: Mapping[str, tuple[str, ...]]
    """Layer to its approximations that are evaluated, each alone."""

    @property
    def network(self) -> Network:
        """The network itself."""
        return self.known.network

    @property
    def approximations(self) -> dict[str, tuple[str, ...]]:
        """Layer to the names of its approximations, each once."""
        return {
            layer: tuple(dict.fromkeys(each.approximation for each in several))
            for layer, several in self.known.variants.items()
        }


def load_inputs(run: RunFile) -> Inputs:
    """Read what the run file names; quick. Raises ``NetworkError`` for what is wrong or does not fit."""
    network = load(run.network)
    calibration = load_samples(run.samples.calibration, network, run.samples.scale, run.samples.offset)
    return Inputs(network, calibration, load_evaluation(run, network))


def load_evaluation(run: RunFile, network: Network) -> Samples:
    """What certificates count accuracy on."""
    samples = load_samples(run.samples.evaluation, network, run.samples.scale, run.samples.offset)
    return samples if run.verify.samples is None else samples.take(run.verify.samples)


def load_material(run: RunFile, inputs: Inputs) -> Material:
    """Fit every approximation; takes seconds to a minute."""
    fitted_to = inputs.calibration.take(run.accuracy.fit_samples)
    known = catalogue(inputs.network, fitted_to, run.approximations, run.degrees)
    traits = traits_of(known)
    most = len(traits) if run.measure.everything else run.accuracy.evaluations
    calibration = inputs.calibration.take(run.accuracy.samples)
    return Material(known, calibration, inputs.evaluation, traits, anchors(traits, most))


def traits_of(known: Catalogue) -> dict[Pair, Trait]:
    """Of everything but the exact layers; quick."""
    names = {
        layer: dict.fromkeys(each.approximation for each in several)
        for layer, several in known.variants.items()
    }
    felt = known.felt()
    every = [(layer, name, parse(name)) for layer, several in names.items() for name in several]
    return {
        (layer, name): Trait(what.number_format, what.structure, felt.get((layer, what.structure), 0.0))
        for layer, name, what in every
        if name != EXACT
    }


def target_of(settings: DeviceSettings, description: Description) -> Target:
    """What to compile for: as the run file says, else the best that the device can run.

    Raises ClusterError where the device has too few cores, NetworkError where we have no kernels for it.
    """
    if settings.threads > len(description.timing_cores):
        cores = ", ".join(map(str, description.timing_cores))
        raise ClusterError(
            f"{settings.threads} threads are asked for on a device ({description.cpu}) that times on "
            f"cores {cores}; ask for fewer threads, or give it more with `blinknet device --cores`"
        )
    if settings.target is None:
        target = Target.for_features(description.architecture, description.features)
    else:
        target = Target(triple(description.architecture), settings.target.mcpu, settings.target.mattr)
    return replace(target, threads=settings.threads, emulated=description.emulated)


def plan(material: Material, targets: Mapping[str, Target]) -> dict[str, ClassPlan]:
    """The table of every class."""
    return {name: plan_class(name, target, material.known) for name, target in targets.items()}
