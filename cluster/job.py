"""A run before anything is measured: what the run file names, loaded, checked, and turned into variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.planning import ClassPlan, plan_class
from cluster.settings import DeviceSettings, RunFile
from network.approximations import Context, contexts, variants
from network.layers import Network
from network.onnx_import import load
from network.quantization import QParams
from network.samples import Samples, load_samples
from network.target import Target
from network.variants import Variant
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

    network: Network
    calibration: Samples
    evaluation: Samples
    contexts: Mapping[str, Context]
    """Layer to the calibration data that its variants were fitted to."""
    variants: Mapping[str, tuple[Variant, ...]]
    """Layer to everything that applies to it."""
    qparams: Mapping[str, QParams]
    """Layer to what the integers of its output mean."""

    @property
    def approximations(self) -> dict[str, tuple[str, ...]]:
        """Layer to the names of its approximations, each once."""
        return {
            layer: tuple(dict.fromkeys(each.approximation for each in several))
            for layer, several in self.variants.items()
        }


def load_inputs(run: RunFile) -> Inputs:
    """Read what the run file names; quick. Raises ``NetworkError`` for what is wrong or does not fit."""
    network = load(run.network)
    calibration, evaluation = (
        load_samples(path, network=network, scale=run.samples.scale, offset=run.samples.offset)
        for path in (run.samples.calibration, run.samples.evaluation)
    )
    return Inputs(network, calibration, evaluation)


def load_material(run: RunFile, inputs: Inputs) -> Material:
    """Fit every approximation; takes seconds to a minute."""
    network, calibration = inputs.network, inputs.calibration
    known = contexts(network, calibration.take(run.accuracy.fit_samples))
    return Material(
        network,
        calibration.take(run.accuracy.samples),
        inputs.evaluation,
        known,
        {
            layer.name: variants(layer, known[layer.name], run.approximations, run.degrees)
            for layer in network.layers
        },
        {name: context.output_qparams for name, context in known.items()},
    )


def target_of(settings: DeviceSettings, description: Description) -> Target:
    """What to compile for: as the run file says, else the best that the device can run."""
    if settings.target is None:
        return Target.for_features(description.architecture, description.features)
    return Target(f"{description.architecture}-linux-gnu", settings.target.mcpu, settings.target.mattr)


def plan(material: Material, targets: Mapping[str, Target]) -> dict[str, ClassPlan]:
    """The table of every class."""
    return {
        name: plan_class(name, target, material.network, material.variants)
        for name, target in targets.items()
    }
