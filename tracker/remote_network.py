"""A whole network on a device: load, time, predict. Runs in the session's child."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import tvm.runtime
from numpy.typing import NDArray
from tvm.runtime.vm import VirtualMachine

from tracker.remote import RemoteDevice
from tracker.remote_timing import read_times

Shape = tuple[int, ...]
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
        inputs: Sequence[Shape],
        outputs: Sequence[Shape],
    ) -> None:
        """Shapes are those of one sample of each input and output."""
        self._device = device
        self._machine = VirtualMachine(device.load(library), device.cpu)
        self._main = self._machine.module["main"]
        self._parameters = [device.tensor(each) for each in parameters]
        self._outputs = tuple(outputs)
        self._inputs = [device.tensors.fill((1, *each), "float32", "random") for each in inputs]
        self._sample_bytes = 4 * sum(int(np.prod(each)) for each in inputs)

    def warm_up(self) -> None:
        """Runs until every buffer that it needs exists."""
        for _ in range(_WARM_UP_RUNS):
            self._main(*self._inputs, *self._parameters)

    def times(self, repeats: int) -> tuple[float, ...]:
        """Seconds of ``repeats`` single inferences, one after the other."""
        evaluate = self._machine.module.time_evaluator("main", self._device.cpu, number=1, repeat=repeats)
        return read_times(lambda: evaluate(*self._inputs, *self._parameters), repeats)

    def predict(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float32], ...]:
        """Samples ``(n, *shape)`` of every input to answers ``(n, *shape)`` of every output.

        Inputs and outputs cross in batches: a sample costs four short round trips and no transfer of its own.
        """
        count = len(inputs[0])
        answers = tuple(np.empty((count, *each), np.float32) for each in self._outputs)
        batch = max(1, _BATCH_BYTES // self._sample_bytes)
        for start in range(0, count, batch):
            samples = [np.ascontiguousarray(x[start : start + batch], np.float32) for x in inputs]
            for answer, part in zip(answers, self._predict_batch(samples), strict=True):
                answer[start : start + batch] = part
        return answers

    def _predict_batch(self, samples: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        count = len(samples[0])
        given = [self._device.tensor(each) for each in samples]
        empty = partial(tvm.runtime.empty, dtype="float32", device=self._device.cpu)
        results = [empty((count, *each)) for each in self._outputs]
        if len(given) == len(results) == 1 and (predict := self._device.function("blinknet.predict")):
            predict(self._machine.module, *given, *results, *self._inputs, *self._parameters)
        elif predict := self._device.function("blinknet.predict_several"):
            tensors = (*given, *results, *self._inputs, *self._parameters)
            predict(self._machine.module, len(given), len(results), *tensors)
        else:
            self._predict_rows(given, results)
        return [np.asarray(each.numpy()) for each in results]

    def _predict_rows(self, given: Sequence[Any], results: Sequence[Any]) -> None:
        """On a server that has none of our functions: from here, sample by sample."""
        for samples, places in zip(_rows(given), _rows(results), strict=True):
            for sample, tensor in zip(samples, self._inputs, strict=True):
                sample.copyto(tensor)  # Compiled kernels refuse a view with an offset as their argument.
            for answer, place in zip(self._answers(), places, strict=True):
                answer.copyto(place)

    def _answers(self) -> Sequence[Any]:
        """Of one inference. RPC hands no tuple over: the machine has to keep it."""
        if len(self._outputs) == 1:
            return (self._main(*self._inputs, *self._parameters),)
        self._machine.set_input("main", *self._inputs, *self._parameters)
        self._machine.invoke_stateful("main")
        return list(self._machine.get_outputs("main"))


def _rows(batches: Sequence[Any]) -> Iterator[list[Any]]:
    """Each sample of remote float32 batches of the same length, as views."""
    for index in range(batches[0].shape[0]):
        yield [_row(each, index) for each in batches]


def _row(batch: Any, index: int) -> Any:
    shape = (1, *batch.shape[1:])
    return batch._create_view(shape, "float32", index * 4 * int(np.prod(shape)))


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
