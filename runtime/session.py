"""Running a bundle on the device: load once, then ask for answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.cpu import missing_features
from runtime.errors import BundleError, SampleError

RUNTIME_ONLY = "TVM_USE_RUNTIME_LIB"
Given = NDArray[np.float32] | Mapping[str, NDArray[np.float32]]
"""An input, or all of them by name."""


class Session:
    """A bundle in memory. Not for several threads at once: give each its own."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises ``BundleError`` if this machine cannot run the bundle."""
        _check_cpu(bundle)
        self.bundle = bundle
        tvm = _import_tvm()
        device = tvm.runtime.device("cpu", 0)
        self._inputs = {name: shape[1:] for name, shape in bundle.manifest.input_shapes.items()}
        self._outputs = {name: shape[1:] for name, shape in bundle.manifest.output_shapes.items()}
        inputs = [tvm.runtime.empty((1, *each), "float32", device) for each in self._inputs.values()]
        # A view on the mapped file: nothing is copied. The arrays are kept alive by their tensors.
        parameters = (tvm.runtime.from_dlpack(each) for each in bundle.parameters())
        self._main = _bound_main(tvm, bundle, device, (*inputs, *parameters))
        # numpy's own view of each tensor: copying through TVM costs 15 us a call, this less than one.
        self._views = [np.from_dlpack(each) for each in inputs]

    def run(self, *x: Given) -> Any:
        """The answers ``(n, *shape)`` to samples ``(n, channels, height, width)``; one sample needs no ``n``.

        A network with several inputs is given an array for each, in their order or as a mapping by name. One
        with several outputs answers with a dictionary, any other with an array. Raises ``SampleError`` for
        inputs that are missing, and for another shape or element type than float32.
        """
        if len(x) == len(self._inputs) == len(self._outputs) == 1 and not isinstance(x[0], Mapping):
            return self._run_one(_checked("x", np.asarray(x[0]), self._inputs["x"]))
        samples = self._samples(x)
        answers = {
            name: np.empty((len(samples[0]), *shape), np.float32) for name, shape in self._outputs.items()
        }
        for index in range(len(samples[0])):
            for view, given in zip(self._views, samples, strict=True):
                view[0] = given[index]
            results = self._main() if len(answers) > 1 else (self._main(),)
            for answer, result in zip(answers.values(), results, strict=True):
                answer[index] = np.from_dlpack(result)[0]
        return answers if len(answers) > 1 else answers["y"]

    def _run_one(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """One input and one output: what is general about the others takes as long as a small network."""
        answers = np.empty((len(samples), *self._outputs["y"]), np.float32)
        (view,) = self._views
        # By index: iterating over arrays costs another microsecond.
        for index in range(len(samples)):
            view[0] = samples[index]
            answers[index] = np.from_dlpack(self._main())[0]
        return answers

    def _samples(self, x: Sequence[Given]) -> list[NDArray[np.float32]]:
        """Of every input, in their order, as many of each."""
        if len(x) == 1 and isinstance(x[0], Mapping):
            x = self._in_order(x[0])
        if len(x) != len(self._inputs):
            raise SampleError(f"{len(x)} arrays given; {self._wanted()}")
        samples = [
            _checked(name, np.asarray(each), self._inputs[name])
            for name, each in zip(self._inputs, x, strict=True)
        ]
        if len(samples) > 1 and len({len(each) for each in samples}) > 1:
            counts = ", ".join(str(len(each)) for each in samples)
            raise SampleError(f"{', '.join(self._inputs)} hold {counts} samples; give as many of each")
        return samples

    def _in_order(self, x: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        if set(x) != set(self._inputs):
            raise SampleError(f"{', '.join(map(str, x)) or 'nothing'} given; {self._wanted()}")
        return [x[name] for name in self._inputs]

    def _wanted(self) -> str:
        return f"give {', '.join(self._inputs)}, in this order or as a mapping by name"


def _checked(name: str, x: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The samples of an input as ``(n, *shape)``."""
    if x.dtype != np.float32:
        raise SampleError(
            f"{name} has element type {x.dtype}; give float32, as {name}.astype('float32') makes it"
        )
    if x.shape[-len(shape) :] != shape or x.ndim - len(shape) not in (0, 1):
        raise SampleError(
            f"{name} has shape {x.shape}; give one sample as {shape} or several as {('n', *shape)}"
        )
    return x.reshape(-1, *shape)


def _check_cpu(bundle: Bundle) -> None:
    device_class = bundle.manifest.configuration.device_class
    if missing := missing_features(bundle.manifest.requires):
        raise BundleError(
            f"bundle {bundle.folder} needs the CPU features {', '.join(missing)}, which this machine lacks; "
            f"deploy the bundle of its own device class, not that of {device_class}"
        )


def _import_tvm() -> Any:
    """TVM, without its compiler where nobody has imported it yet: half the time to load.

    The variable is taken back, so that child processes of this one can still compile.
    """
    if "tvm" in sys.modules or RUNTIME_ONLY in os.environ:
        import tvm

        return tvm
    os.environ[RUNTIME_ONLY] = "1"
    try:
        import tvm
    finally:
        del os.environ[RUNTIME_ONLY]
    return tvm


def _bound_main(tvm: Any, bundle: Bundle, device: Any, arguments: tuple[Any, ...]) -> Any:
    """``main`` with its arguments: handing dozens of them over in every call costs more than some layers."""
    from tvm.runtime.vm import VirtualMachine

    try:
        machine = VirtualMachine(tvm.runtime.load_module(str(bundle.library)), device)
        machine.save_function("main", "main with arguments", *arguments)
        return machine["main with arguments"]
    except (OSError, RuntimeError, AttributeError) as error:
        raise BundleError(
            f"{bundle.library} for {bundle.manifest.configuration.target} cannot be loaded here: {error}; "
            "deploy the bundle of this machine's own device class"
        ) from error


def load(folder: str | Path) -> Session:
    """Open, verify and load a bundle; raises ``BundleError``."""
    return Session(Bundle.open(folder))
