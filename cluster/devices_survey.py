"""Asks the devices of a fleet what they are, and what they can do. A failure is an answer, never the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

from cost_model.device_event import DeviceEvent
from network.errors import NetworkError
from network.target import Target
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.failure import Failure, SessionFailed
from tracker.session import Session
from workers.device import DeviceDriver
from workers.fingerprint_kernels import FingerprintLibrary, buffer_bytes, build_fingerprint

AT_ONCE = 8
"""Sessions; each is a process that imports TVM's runtime first."""
ANSWER_S = 5.0
"""Within which a free device is given to us and answers."""
PATIENCE_S = 20.0
"""For the whole fleet."""

Answer = TypeVar("Answer")


def describe_all(
    tracker: Address, devices: Sequence[str], patience_s: float = PATIENCE_S
) -> dict[str, Description | Failure]:
    """What each device says of itself, or why it did not within the time."""

    def ask(device: str) -> Description | Failure:
        try:
            key = DeviceKey.parse(device)
            with Session.open(tracker, key, ANSWER_S, session_timeout_s=2 * ANSWER_S) as session:
                return session.describe(deadline_s=ANSWER_S)
        except SessionFailed as error:
            return error.failure

    def late(device: str) -> Failure:
        return Failure("timeout", f"no answer within {patience_s:g} s", device, "describe")

    return _in_time(ask, late, devices, patience_s)


def measure_fingerprints(
    tracker: Address, described: Mapping[str, Description]
) -> dict[str, DeviceEvent | Failure]:
    """The fingerprint of each device. Everything is compiled first; those that share cores take turns."""
    from cluster.site import build_cores  # With it comes Ray, which takes a second.

    cores = build_cores(list(described.values()))
    built = cache(lambda target, buffer: build_fingerprint(target, buffer, cores))
    libraries: dict[str, FingerprintLibrary] = {}
    answers: dict[str, DeviceEvent | Failure] = {}
    for device, said in described.items():
        try:
            target = Target.for_features(said.architecture, said.features)
            libraries[device] = built(target, buffer_bytes(said.memory_bytes))
        except NetworkError as error:
            answers[device] = Failure("build", str(error), device, "fingerprint")

    def measure(group: Sequence[str]) -> dict[str, DeviceEvent | Failure]:
        drivers = {each: DeviceDriver(tracker, DeviceKey.parse(each)) for each in group}
        return {each: driver.fingerprint(libraries[each]) for each, driver in drivers.items()}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for found in pool.map(measure, sharing({each: described[each] for each in libraries})):
            answers |= found
    return answers


def sharing(described: Mapping[str, Description]) -> list[list[str]]:
    """The devices in groups, so that no core belongs to two of them."""
    groups: list[tuple[set[str], list[str]]] = []
    for device, said in described.items():
        cores = {f"{said.host}/{core}" for core in said.timing_cores}
        touched = [each for each in groups if each[0] & cores]
        groups = [each for each in groups if each not in touched]
        members = [name for _, names in touched for name in names]
        groups.append((cores.union(*(each for each, _ in touched)), [*members, device]))
    return [names for _, names in groups]


def _in_time(
    ask: Callable[[str], Answer],
    late: Callable[[str], Answer],
    devices: Iterable[str],
    patience_s: float,
) -> dict[str, Answer]:
    pool = ThreadPoolExecutor(AT_ONCE)
    asked: dict[str, Future[Answer]] = {each: pool.submit(ask, each) for each in devices}
    wait(asked.values(), patience_s)
    # Those under way end by their own deadlines; nobody waits for them.
    pool.shutdown(wait=False, cancel_futures=True)
    return {
        device: answer.result() if answer.done() and not answer.cancelled() else late(device)
        for device, answer in asked.items()
    }
