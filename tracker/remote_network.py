"""A whole network on a device: load, time, predict. Runs in the session's child."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tvm.runtime
from numpy.typing import NDArray
from tvm.runtime.vm import VirtualMachine

from tracker.remote import RemoteDevice

_WARM_UP_RUNS: Final = 3
_BATCH_BYTES: Final = 4 << 20


class RemoteNetwork:
    """A relax executable with its parameters on the device.

    ``main`` is called as it is. ``set_input`` and ``invoke_stateful`` would copy every parameter over RPC
    and hold it twice.
    """

    def __init__(
        self,
        device: RemoteDevice,
        library: Path,
        parameters: Sequence[NDArray[Any]],
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
    ) -> None:
        self._device = device
        self._machine = VirtualMachine(device.load(library), device.cpu)
        self._main = self._machine.module["main"]
        self._parameters = [device.tensor(each) for each in parameters]
        self._input_shape = input_shape
        self._output_shape = output_shape
        self._input = device.filled((1, *input_shape), "float32", "random")

    def warm_up(self) -> None:
        """Runs until every buffer that it needs exists."""
        for _ in range(_WARM_UP_RUNS):
            self._main(self._input, *self._parameters)

    def times(self, repeats: int) -> tuple[float, ...]:
        """Seconds of ``repeats`` single inferences, one after the other."""
        evaluate = self._machine.module.time_evaluator("main", self._device.cpu, number=1, repeat=repeats)
        return tuple(evaluate(self._input, *self._parameters).results)

    def predict(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """``(n, *input_shape)`` to ``(n, *output_shape)``.

        Inputs and outputs cross in batches: a sample costs four short round trips and no transfer of its own.
        """
        outputs = np.empty((len(inputs), *self._output_shape), np.float32)
        sample_bytes = 4 * int(np.prod(self._input_shape))
        batch = max(1, _BATCH_BYTES // sample_bytes)
        for start in range(0, len(inputs), batch):
            samples = np.ascontiguousarray(inputs[start : start + batch], np.float32)
            outputs[start : start + batch] = self._predict_batch(samples)
        return outputs

    def _predict_batch(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        given = self._device.tensor(samples)
        results = tvm.runtime.empty((len(samples), *self._output_shape), "float32", self._device.cpu)
        if predict := self._device.function("blinknet.predict"):
            predict(self._machine.module, given, results, self._input, *self._parameters)
            return np.asarray(results.numpy())
        for sample, place in zip(_rows(given), _rows(results), strict=True):
            sample.copyto(self._input)  # Compiled kernels refuse a view with an offset as their argument.
            self._main(self._input, *self._parameters).copyto(place)
        return np.asarray(results.numpy())


def _rows(batch: Any) -> Iterator[Any]:
    """Each sample of a remote float32 batch, as a view."""
    shape = (1, *batch.shape[1:])
    sample_bytes = 4 * int(np.prod(shape))
    for index in range(batch.shape[0]):
        yield batch._create_view(shape, "float32", index * sample_bytes)


def time_networks(
    networks: Mapping[str, RemoteNetwork], rounds: int, repeats: int
) -> dict[str, tuple[float, ...]]:
    """Raw seconds of single inferences, ``rounds * repeats`` a network.

    The networks take turns, so that a clock that drifts or a neighbour that wakes up meets all of them.
    """
    seconds: dict[str, tuple[float, ...]] = dict.fromkeys(networks, ())
    for network in networks.values():
        network.warm_up()
    for _ in range(rounds):
        for name, network in networks.items():
            seconds[name] += network.times(repeats)
    return seconds
