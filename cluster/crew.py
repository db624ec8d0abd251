"""Ray's side of a run: starts commands as tasks and hands back what became of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import ray

from cluster.errors import ClusterError
from cluster.gateways import drivers
from tracker.address import Address
from tracker.device import DeviceKey
from workers.sources import fingerprint
from workers.tasks import worker_fingerprint


def connect() -> None:
    """Join the Ray cluster of this job, or start a local one that ends with this process.

    Raises ``ClusterError`` where Ray's workers would import other sources than this process.
    """
    if not ray.is_initialized():
        if os.environ.get("RAY_ADDRESS"):
            ray.init()
        else:
            # Without an address Ray would look for a cluster that was once started here, dead or alive.
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="error")
    ours, theirs = fingerprint(), ray.get(worker_fingerprint.remote())
    if ours != theirs:
        raise ClusterError(
            f"this process runs {ours}, Ray's workers {theirs}: they import BlinkNet from somewhere else; "
            "run from the project's folder, or submit it with `ray job submit --working-dir .`"
        )


def build_slots(build_cpus: int) -> int:
    """Pieces of host work at a time: those that the cluster has CPUs for.

    On this machine alone, where devices may be timed, ``build_cpus``.
    """
    if not os.environ.get("RAY_ADDRESS"):
        return build_cpus
    return max(1, int(ray.cluster_resources().get("CPU", 1)) // build_cpus)


class Crew:
    """Tasks under way, each with the command that it carries out."""

    def __init__(self, tracker: Address, session_timeout_s: float, devices_per_actor: int = 1) -> None:
        self._drivers = drivers(tracker, session_timeout_s, devices_per_actor)
        self._actors: dict[DeviceKey, Any] = {}
        self._pending: dict[Any, Any] = {}

    def device(self, key: DeviceKey) -> Any:
        """What drives a device, an actor or its seat in one; made when it is first needed."""
        if key not in self._actors:
            self._actors[key] = self._drivers.hire(key)
        return self._actors[key]

    def dismiss(self, key: DeviceKey) -> None:
        """End the driver of a device that is gone; what it was doing is forgotten."""
        if actor := self._actors.pop(key, None):
            self._drivers.dismiss(key, actor)

    def start(self, command: Any, reference: Any) -> None:
        """Remember what a task was started for."""
        self._pending[reference] = command

    def forget(self, unwanted: Callable[[Any], bool]) -> None:
        """Drop commands under way whose results nobody waits for any more."""
        self._pending = {ref: each for ref, each in self._pending.items() if not unwanted(each)}

    def collect(self, timeout_s: float) -> Iterator[tuple[Any, Any]]:
        """Commands that are through within the time, each with its result or the exception that ended it."""
        if not self._pending:
            time.sleep(timeout_s)
            return
        pending = list(self._pending)
        done, _ = ray.wait(pending, num_returns=1, timeout=timeout_s)
        if done:
            # Whatever else is through by now: to look at thousands for each one would take too long.
            done, _ = ray.wait(pending, num_returns=len(pending), timeout=0)
        for reference in done:
            command = self._pending.pop(reference, None)
            if command is None:
                continue  # It was forgotten because of a result just before.
            try:
                yield command, ray.get(reference)
            except ray.exceptions.RayError as error:
                yield command, error

    def close(self) -> None:
        """End all actors."""
        for key in list(self._actors):
            self.dismiss(key)
