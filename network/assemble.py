"""Puts the chosen variants of a network's layers together into one executable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from network.build import Tile
from network.errors import NetworkError
from network.isa import Isa
from network.layers import Layer, Network
from network.link import linker
from network.program import Call, Program, calls_of
from network.target import Target
from network.variants import Fitted, Form

Parameters = tuple[tuple[str, NDArray[Any]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A layer's variant with its parameters, and the tile of each of its kernels."""

    fitted: Fitted
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """A library whose ``main(*inputs, *parameters)`` runs the network; sizes in bytes.

    Each input is float32 (1, channels, height, width). The result is float32 (1, *shape) in ONNX's order; of
    a network with several outputs, a tuple of such.
    """

    path: Path
    parameters: Parameters
    """Names and packed values in the order of the call."""
    planned_bytes: int
    """All activations, after those that are never alive together were given the same storage."""
    workspace_bytes: int
    """Buffers of the kernel that has the largest."""
    parameter_bytes: int
    library_bytes: int


def assemble(network: Network, choices: Mapping[str, Choice], target: Target, path: Path) -> Assembled:
    """Compile a configuration, a choice for every layer by name, into the shared library ``path``.

    Raises NetworkError when a layer has no choice, a choice does not fit its layer's neighbours, or no linker
    is found.
    """
    link = linker(target.mtriple)
    check_choices(network, choices)
    isa = target.isa
    calls = {layer.name: _calls(layer, choices[layer.name], isa) for layer in network.layers}
    program = Program(network)
    program.add("main", calls)
    executable, planned = program.compiled(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    executable.export_library(str(path), fcompile=link)
    kernels = [call.kernel for each in calls.values() for call in each]
    parameters = tuple(
        named for layer in network.layers for named in _packed(layer, choices[layer.name], isa)
    )
    return Assembled(
        path=path,
        parameters=parameters,
        planned_bytes=planned["main"],
        workspace_bytes=max((each.work(isa).workspace_bytes for each in kernels), default=0),
        parameter_bytes=sum(array.nbytes for _, array in parameters),
        library_bytes=path.stat().st_size,
    )


def check_choices(network: Network, choices: Mapping[str, Choice]) -> None:
    """Raise NetworkError unless every layer has a choice and neighbours agree on the tensors between them."""
    for layer in network.layers:
        if layer.name not in choices:
            raise NetworkError(f"layer {layer.name} of network {network.name} has no choice; add one")
        _check_tiles(layer.name, choices[layer.name])
    for source, layer_name in network.edges:
        written, read = (choices[each].fitted.variant for each in (source, layer_name))
        if written.writes != read.reads:
            raise NetworkError(
                f"layer {source} ({written.key}) writes {written.writes} and layer {layer_name} "
                f"({read.key}) reads {read.reads}; choose variants that agree"
            )
    for output in network.outputs:
        if choices[output.layer].fitted.variant.writes != Form("float32"):
            raise NetworkError(
                f"layer {output.layer} is an output; choose a variant that writes all of it in float32"
            )


def _check_tiles(layer: str, choice: Choice) -> None:
    steps, tiles = len(choice.fitted.steps), len(choice.tiles)
    if steps != tiles:
        raise NetworkError(f"layer {layer} has {steps} steps and {tiles} tiles; give one tile a step")


def _packed(layer: Layer, choice: Choice, isa: Isa) -> Parameters:
    """The parameters of a layer's kernels, named as ``network.program`` names them."""
    steps = zip(choice.fitted.steps, _calls(layer, choice, isa), strict=True)
    return tuple(
        (name, array)
        for step, call in steps
        for (name, _), array in zip(call.parameters, step.kernel.pack(isa, step.parameters), strict=True)
    )


def _calls(layer: Layer, choice: Choice, isa: Isa) -> tuple[Call, ...]:
    kernels = (step.kernel for step in choice.fitted.steps)
    return calls_of(layer.name, zip(kernels, choice.tiles, strict=True), isa)
