"""Networks to measure and to test with: the shipped ones, and well-known ones with random weights.

An architecture is a function of a graph and its inputs, in a file by its family. Weights are drawn in the
order of the nodes, so the same name, opset and seed give the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.networks.activity import activity
from benchmarks.networks.caffenet import caffenet
from benchmarks.networks.densenet import densenet
from benchmarks.networks.graph import Graph, Shape, Tensor
from benchmarks.networks.inception import inception
from benchmarks.networks.mobilenet import mobilenet_v2
from benchmarks.networks.resnet import resnet18, resnet50
from benchmarks.networks.squeezenet import squeezenet
from benchmarks.networks.stereo import stereo
from benchmarks.networks.unet import unet_bilinear, unet_nearest, unet_transposed

OPSETS = range(11, 23)
"""Those that operators are written for."""


@dataclass(frozen=True, slots=True)
class RandomNetwork:
    """An architecture whose weights are drawn."""

    name: str
    architecture: Callable[..., Tensor | tuple[Tensor, ...]]
    """Writes itself into a graph, given its inputs; gives the outputs."""
    inputs: Mapping[str, Shape]
    """By name, without the batch."""

    def model(self, opset: int = 17, batch: int | str = 1, seed: int = 0) -> onnx.ModelProto:
        """The network; a ``batch`` with a name is open. Raises ValueError for an opset not in ``OPSETS``."""
        if opset not in OPSETS:
            raise ValueError(f"{self.name} cannot be written for opset {opset}; use {OPSETS[0]}-{OPSETS[-1]}")
        graph = Graph(opset, batch, np.random.default_rng(seed))
        inputs = [Tensor(name, shape) for name, shape in self.inputs.items()]
        outputs = self.architecture(graph, *inputs)
        return graph.model(self.name, inputs, (outputs,) if isinstance(outputs, Tensor) else outputs)


def _image(architecture: Callable[[Graph, Tensor], Tensor], size: int) -> RandomNetwork:
    return RandomNetwork(architecture.__name__, architecture, {"image": (3, size, size)})


_RANDOM = (
    _image(caffenet, 227),
    _image(resnet18, 224),
    _image(resnet50, 224),
    _image(mobilenet_v2, 224),
    _image(squeezenet, 224),
    _image(densenet, 32),
    _image(inception, 224),
    _image(unet_nearest, 128),
    _image(unet_bilinear, 128),
    _image(unet_transposed, 128),
    RandomNetwork("stereo", stereo, {"left": (3, 64, 64), "right": (3, 64, 64)}),
    RandomNetwork("activity", activity, {"motion": (9, 128)}),
)
_EXAMPLES = Path(__file__).parents[2] / "examples"

NETWORKS: Mapping[str, RandomNetwork] = {each.name: each for each in _RANDOM}
SHIPPED: Mapping[str, Path] = {name: _EXAMPLES / name / "model.onnx" for name in ("cifar10_quick", "vgg16")}
"""Trained ones."""


def model_path(name: str, folder: Path) -> Path:
    """The shipped file of that name, or the random network, written to ``folder``.

    Raises KeyError for a name that is neither.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    path = folder / f"{name}.onnx"
    onnx.save(NETWORKS[name].model(), path)
    return path
