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

from network.assemble import Choice, check_choices
from network.build import Tile, build_library, request_key
from network.errors import NetworkError
from network.isa import Isa
from network.layers import Network
from network.target import Target
from network.variants import Fitted, Kernel, Step

Request = tuple[Kernel, Tile]


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

    def run(
        self, network: Network, choices: Mapping[str, Choice], inputs: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Logits (n, classes) of samples (n, channels, height, width).

        Raises NetworkError when the choices do not fit each other or the samples do not fit the network.
        """
        check_choices(network, choices)
        _check_samples(f"network {network.name}", inputs, network.input_shape, "float32")
        chosen = {layer.name: _requests(choices[layer.name]) for layer in network.layers}
        self.compile(request for requests in chosen.values() for request in requests)
        program = _Program(network.input_shape, "float32")
        values: dict[str, Any] = {}
        for layer in network.layers:
            value = values[layer.inputs[0]] if layer.inputs else program.source
            steps = choices[layer.name].fitted.steps
            values[layer.name] = self._add(program, value, steps, chosen[layer.name])
        outputs = program.run(inputs, values[network.layers[-1].name])
        return outputs.reshape(len(inputs), network.output_size)

    def run_variant(self, fitted: Fitted, inputs: NDArray[Any]) -> NDArray[Any]:
        """Outputs (n, height, width * channels) of a layer's inputs, each of the first kernel's input shape.

        Uses each kernel's first tile: tiles change the time, never the result. Raises NetworkError when the
        inputs do not fit the variant.
        """
        if not fitted.steps:
            return inputs
        variant, isa = fitted.variant, self.target.isa
        source = variant.kernels[0].arguments(isa)[0]
        _check_samples(f"variant {variant.key} of layer {variant.layer}", inputs, source.shape, source.dtype)
        requests = _requests(first_tiles(fitted, isa))
        self.compile(requests)
        program = _Program(source.shape, source.dtype)
        return program.run(inputs, self._add(program, program.source, fitted.steps, requests))

    def _add(self, program: _Program, value: Any, steps: Sequence[Step], requests: Sequence[Request]) -> Any:
        """Continue the program from tensor ``value``; gives the tensor that the last step writes."""
        for step, request in zip(steps, requests, strict=True):
            value = program.add(self._functions[request_key(*request)], step, value, self.target.isa)
        return value


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

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        from tvm.runtime import empty

        self.source = empty(shape, dtype)
        self._calls: list[tuple[Any, tuple[Any, ...]]] = []

    def add(self, function: Any, step: Step, value: Any, isa: Isa) -> Any:
        """Call a kernel on a tensor that is there already; gives the tensor that it writes."""
        from tvm.runtime import empty, tensor

        source, *_, result = step.kernel.arguments(isa)
        packed = [tensor(array) for array in step.kernel.pack(isa, step.parameters)]
        written = empty(result.shape, result.dtype)
        self._calls.append((function, (_viewed(value, source.shape), *packed, written)))
        return written

    def run(self, inputs: NDArray[Any], value: Any) -> NDArray[Any]:
        """The tensor ``value`` after each sample."""
        source, result = np.from_dlpack(self.source), np.from_dlpack(value)
        outputs = np.empty((len(inputs), *result.shape), result.dtype)
        for sample, output in zip(inputs, outputs, strict=True):
            source[...] = sample
            for function, arguments in self._calls:
                function(*arguments)
            output[...] = result
        return outputs


def _viewed(value: Any, shape: tuple[int, ...]) -> Any:
    """The same bytes under another shape."""
    from tvm.runtime import from_dlpack

    if tuple(value.shape) == tuple(shape):
        return value
    return from_dlpack(np.from_dlpack(value).reshape(shape))
