"""Running a bundle on the device: load once, then ask for logits."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.cpu import missing_features
from runtime.errors import BundleError, SampleError

RUNTIME_ONLY = "TVM_USE_RUNTIME_LIB"


class Session:
    """A bundle in memory. Not for several threads at once: give each its own."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises ``BundleError`` if this machine cannot run the bundle."""
        _check_cpu(bundle)
        self.bundle = bundle
        tvm = _import_tvm()
        device = tvm.runtime.device("cpu", 0)
        self._input = tvm.runtime.empty(bundle.manifest.input_shape, bundle.manifest.input_dtype, device)
        # A view on the mapped file: nothing is copied. The arrays are kept alive by their tensors.
        parameters = (tvm.runtime.from_dlpack(each) for each in bundle.parameters())
        self._main = _bound_main(tvm, bundle, device, (self._input, *parameters))
        # numpy's own view of that tensor: copying through TVM costs 15 us a call, this less than one.
        self._x = np.from_dlpack(self._input)

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits ``(n, classes)`` of samples ``(n, channels, height, width)``; one sample needs no ``n``.

        Raises ``SampleError`` for another shape or element type than float32.
        """
        samples = self._samples(np.asarray(x))
        logits = np.empty((len(samples), *self.bundle.manifest.output_shape[1:]), np.float32)
        # By index: iterating over arrays costs another microsecond.
        for index in range(len(samples)):
            self._x[0] = samples[index]
            logits[index] = np.from_dlpack(self._main())[0]
        return logits

    def _samples(self, x: NDArray[Any]) -> NDArray[np.float32]:
        shape = self.bundle.manifest.input_shape[1:]
        if x.dtype != np.float32:
            raise SampleError(f"x has element type {x.dtype}; give float32, as x.astype('float32') makes it")
        if x.shape[-3:] != shape or x.ndim not in (3, 4):
            raise SampleError(
                f"x has shape {x.shape}; give one sample as {shape} or several as {('n', *shape)}"
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
