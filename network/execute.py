"""Runs variants and whole configurations on this machine, over many samples, for calibration and accuracy.

A kernel is compiled once in an executor's life: trying another configuration of kernels already seen
compiles nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.answers import Answers
from network.assemble import Choice, check_choices
from network.build import Tile, build_library, request_key
from network.errors import NetworkError
from network.isa import Isa
from network.layers import Network
from network.target import Target
from network.variants import Fitted, Kernel, Step, TensorSpec

Request = tuple[Kernel, Tile]
SAMPLES = "samples of "
"""Ahead of an input layer's name: what stands for its samples beside the layers' outputs."""


class Executor:
    """Compiles kernels for this machine as they are needed, and runs them. Not thread-safe."""

    def __init__(self, target: Target | None = None) -> None:
        self.target = Target.host() if target is None else target
        self._functions: dict[str, Any] = {}

    def compile(self, requests: Iterable[Request]) -> None:
        """Compile what is not compiled yet, all in one library. Raises NetworkError when a kernel fails."""
        missing = {request_key(*request): request for request in requests}
        missing = {key: missing[key] for key in missing if key not in self._functions}
        if not missing:
            return
        from tvm.runtime import load_module

        with TemporaryDirectory() as folder:
            built = build_library(list(missing.values()), self.target, Path(folder) / "kernels.so")
            for key, error in built.failures.items():
                raise NetworkError(f"kernel {key} does not compile: {error}")
            library = load_module(str(built.path))
        self._functions |= {key: library[symbol] for key, symbol in built.symbols.items()}

    def run(self, network: Network, choices: Mapping[str, Choice], *inputs: NDArray[np.float32]) -> Answers:
        """Answers (n, *shape), one array an output, to samples (n, channels, height, width) of each input.

        Raises NetworkError when the choices do not fit each other or the samples do not fit the network.
        """
        check_choices(network, choices)
        given = samples_of(network, inputs)
        for x, shape in zip(inputs, network.input_shapes.values(), strict=True):
            _check_samples(f"network {network.name}", x, shape, "float32")
        fitted = {name: choice.fitted for name, choice in choices.items()}
        wanted = list(dict.fromkeys(each.layer for each in network.outputs))
        return answers_of(network, self.run_layers(network, fitted, given, wanted))

    def run_layers(
        self,
        network: Network,
        fitted: Mapping[str, Fitted],
        given: Mapping[str, NDArray[Any]],
        wanted: Sequence[str],
    ) -> dict[str, NDArray[Any]]:
        """Outputs (n, height, width * channels) of the wanted ones of some layers.

        ``given`` are outputs of the layers ahead of them, as this gives them, and the samples of input layers
        that are among them (``samples_of``). Uses each kernel's first tile.
        """
        isa = self.target.isa
        chosen = {name: _requests(first_tiles(each, isa)) for name, each in fitted.items()}
        self.compile(request for requests in chosen.values() for request in requests)
        program = _Program([TensorSpec(each.shape[1:], str(each.dtype)) for each in given.values()])
        values: dict[str, Any] = dict(zip(given, program.sources, strict=True))
        for layer in network.layers:
            if layer.name in fitted:
                read = tuple(values[name] for name in layer.inputs or (SAMPLES + layer.name,))
                steps = fitted[layer.name].steps
                values[layer.name] = self._add(program, read, steps, chosen[layer.name])
        outputs = program.run(tuple(given.values()), [values[name] for name in wanted])
        return dict(zip(wanted, outputs, strict=True))

    def run_variant(self, fitted: Fitted, *inputs: NDArray[Any]) -> NDArray[Any]:
        """Outputs (n, height, width * channels) of n samples of each of a layer's inputs.

        Each sample has the shape of the first kernel's argument. Uses each kernel's first tile: tiles change
        the time, never the result. Raises NetworkError when the inputs do not fit the variant.
        """
        if not fitted.steps:
            return inputs[0]
        variant, isa = fitted.variant, self.target.isa
        owner, first = f"variant {variant.key} of layer {variant.layer}", variant.kernels[0]
        sources = first.arguments(isa)[: first.inputs]
        if len(inputs) != len(sources):
            raise NetworkError(f"{owner} reads {len(sources)} tensors and was given {len(inputs)}; pass each")
        for given, source in zip(inputs, sources, strict=True):
            _check_samples(owner, given, source.shape, source.dtype)
        requests = _requests(first_tiles(fitted, isa))
        self.compile(requests)
        program = _Program(sources)
        (outputs,) = program.run(inputs, [self._add(program, program.sources, fitted.steps, requests)])
        return outputs

    def _add(
        self, program: _Program, values: Sequence[Any], steps: Sequence[Step], requests: Sequence[Request]
    ) -> Any:
        """Continue the program from the tensors that the first step reads; gives what the last one writes."""
        for step, request in zip(steps, requests, strict=True):
            values = (program.add(self._functions[request_key(*request)], step, values, self.target.isa),)
        (value,) = values
        return value


def samples_of(network: Network, inputs: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What the input layers read, by SAMPLES and their names. Raises NetworkError unless each is there."""
    names = [each.name for each in network.inputs]
    if len(inputs) != len(names):
        raise NetworkError(
            f"network {network.name} reads {len(names)} inputs ({', '.join(names)}) and was given "
            f"{len(inputs)}; pass each"
        )
    return {SAMPLES + name: x for name, x in zip(names, inputs, strict=True)}


def answers_of(network: Network, outputs: Mapping[str, NDArray[Any]]) -> Answers:
    """The answers (n, *shape) of a network out of what its layers wrote, by name."""
    written = ((outputs[each.layer], each.shape) for each in network.outputs)
    return tuple(x.reshape(len(x), *shape) for x, shape in written)


def as_read(fitted: Fitted, isa: Isa, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Samples (n, height, width, channels) of each input in the shapes that the first kernel reads."""
    if not fitted.steps:
        return list(inputs)
    sources = fitted.steps[0].kernel.arguments(isa)
    return [x.reshape(len(x), *source.shape) for x, source in zip(inputs, sources, strict=False)]


def first_tiles(fitted: Fitted, isa: Isa) -> Choice:
    """With each kernel's most promising tile: tiles change the time, never the result."""
    return Choice(fitted, tuple(kernel.tiles(isa)[0] for kernel in fitted.variant.kernels))


def _requests(choice: Choice) -> list[Request]:
    return [(step.kernel, tile) for step, tile in zip(choice.fitted.steps, choice.tiles, strict=True)]


def _check_samples(owner: str, inputs: NDArray[Any], shape: tuple[int, ...], dtype: str) -> None:
    expected, given = f"{dtype}{list(shape)}", f"{inputs.dtype}{list(inputs.shape[1:])}"
    if given != expected:
        raise NetworkError(f"{owner} takes samples of {expected} and was given {given}; convert them")


class _Program:
    """Kernels with tensors of their own, which every sample passes through.

    Samples are copied into an aligned tensor: kernels may assume 64 bytes of alignment, numpy gives 16.
    """

    def __init__(self, sources: Sequence[TensorSpec]) -> None:
        from tvm.runtime import empty

        self.sources = tuple(empty(source.shape, source.dtype) for source in sources)
        self._calls: list[tuple[Any, tuple[Any, ...]]] = []

    def add(self, function: Any, step: Step, values: Sequence[Any], isa: Isa) -> Any:
        """Call a kernel on tensors that are there already; gives the tensor that it writes."""
        from tvm.runtime import empty, tensor

        *arguments, result = step.kernel.arguments(isa)
        sources = arguments[: step.kernel.inputs]
        read = [_viewed(value, source.shape) for value, source in zip(values, sources, strict=True)]
        packed = [tensor(array) for array in step.kernel.pack(isa, step.parameters)]
        written = empty(result.shape, result.dtype)
        self._calls.append((function, (*read, *packed, written)))
        return written

    def run(self, inputs: Sequence[NDArray[Any]], values: Sequence[Any]) -> list[NDArray[Any]]:
        """Those tensors after each sample, one of each input."""
        sources, results = ([np.from_dlpack(each) for each in several] for several in (self.sources, values))
        outputs = [np.empty((len(inputs[0]), *each.shape), each.dtype) for each in results]
        for index in range(len(inputs[0])):
            for source, samples in zip(sources, inputs, strict=True):
                source[...] = samples[index]
            for function, arguments in self._calls:
                function(*arguments)
            for output, result in zip(outputs, results, strict=True):
                output[index] = result
        return outputs


def _viewed(value: Any, shape: tuple[int, ...]) -> Any:
    """The same bytes under another shape."""
    from tvm.runtime import from_dlpack

    if tuple(value.shape) == tuple(shape):
        return value
    return from_dlpack(np.from_dlpack(value).reshape(shape))
