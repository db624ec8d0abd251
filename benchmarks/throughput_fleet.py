"""Devices on this machine and the real kernels that they are to time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.networks import model_path
from cluster.embedded import level, local_classes
from cluster.planning import KernelRequest, plan_class
from network.approximations import Catalogue, catalogue
from network.onnx_import import load
from network.samples import Samples
from network.target import Target
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import Description, DeviceKey
from tracker.tracker import TrackerProcess

CALIBRATION = 4
"""Samples: which kernels there are does not depend on what parameters are fitted to."""


@dataclass(frozen=True, slots=True)
class ClassWork:
    """What the devices of one class are to time."""

    target: Target
    kernels: Mapping[str, KernelRequest]
    """By request."""


@contextmanager
def fleet(cores: Sequence[int]) -> Iterator[tuple[Address, tuple[DeviceKey, ...]]]:
    """A tracker and a real device for each core, of one of this machine's x86 levels after the other."""
    classes = islice(cycle(local_classes()), len(cores))
    keys = [DeviceKey(name, f"unit-{index}") for index, name in enumerate(classes)]
    with ExitStack() as stack:
        tracker = stack.enter_context(TrackerProcess.start())
        start_agents(stack, tracker.address, keys, cores)
        yield tracker.address, tuple(keys)


def start_agents(stack: ExitStack, tracker: Address, keys: Sequence[DeviceKey], cores: Sequence[int]) -> None:
    """Start several agents at once, a core each; the stack ends them."""

    def start(key: DeviceKey, core: int) -> AgentProcess:
        shown = level(key.device_class) if key.device_class in local_classes() else None
        return AgentProcess.start(tracker, key, isa=shown, cores=[core])

    with ThreadPoolExecutor(len(keys)) as pool:
        for agent in [pool.submit(start, *each) for each in zip(keys, cores, strict=True)]:
            stack.enter_context(agent.result())


def class_work(
    networks: Sequence[str],
    approximations: Sequence[str] | None,
    descriptions: Mapping[DeviceKey, Description],
    kernels: int,
) -> dict[str, ClassWork]:
    """About so many kernels a device, evenly spread over all that a run of the networks may time.

    Without ``approximations`` all of them are there.
    """
    known = [_catalogue(each, approximations) for each in networks]
    work = {}
    for name, several in _by_class(descriptions).items():
        said = descriptions[several[0]]
        target = Target.for_features(said.architecture, said.features)
        every = {key: each for part in known for key, each in plan_class(name, target, part).kernels.items()}
        work[name] = ClassWork(
            target, {key: every[key] for key in spread(list(every), kernels * len(several))}
        )
    return work


def spread(keys: Sequence[str], count: int) -> list[str]:
    """So many of them, as far apart as can be, in their order; all where there are fewer."""
    wanted = min(count, len(keys))
    return [keys[index * len(keys) // wanted] for index in range(wanted)]


def shares(work: Mapping[str, ClassWork], devices: Sequence[DeviceKey]) -> dict[DeviceKey, tuple[str, ...]]:
    """Requests of each device where nobody balances: the units of a class take turns."""
    return {
        device: tuple(work[name].kernels)[turn :: len(several)]
        for name, several in _by_class(devices).items()
        for turn, device in enumerate(several)
    }


def _by_class(
    devices: Iterator[DeviceKey] | Sequence[DeviceKey] | Mapping[DeviceKey, object],
) -> dict[str, list[DeviceKey]]:
    found: dict[str, list[DeviceKey]] = {}
    for device in devices:
        found.setdefault(device.device_class, []).append(device)
    return found


def _catalogue(name: str, approximations: Sequence[str] | None) -> Catalogue:
    with TemporaryDirectory(prefix="blinknet-benchmark-") as folder:
        network = load(model_path(name, Path(folder)))
    random = np.random.default_rng(0)
    x, *others = (
        random.standard_normal((CALIBRATION, *shape), dtype=np.float32)
        for shape in network.input_shapes.values()
    )
    return catalogue(network, Samples(x, np.zeros(CALIBRATION, np.int64), tuple(others)), approximations)
