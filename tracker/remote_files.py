"""What a session reads from its device's files, whichever server runs there. Runs in the session's child."""

from __future__ import annotations

from typing import Protocol

from tracker.facts import describe
from tracker.probe import Probe
from tracker.remote import RemoteDevice


class DeviceFiles(Protocol):
    """A device's files, heap and memory."""

    def read(self, path: str) -> str:
        """A file's text; the empty text when it cannot be read."""

    def trim(self) -> None:
        """Gives free heap pages back to the kernel, and lets large blocks do so by themselves."""

    def limit_memory(self, size: int) -> bool:
        """Lets the session's process map so many bytes more than it has; whether that is enforced."""


class _AgentFiles:
    def __init__(self, device: RemoteDevice) -> None:
        self._device = device

    def read(self, path: str) -> str:
        return str(self._device.session.get_function("blinknet.read_text")(path))

    def trim(self) -> None:
        self._device.session.get_function("blinknet.trim")()

    def limit_memory(self, size: int) -> bool:
        limit = self._device.function("blinknet.limit_memory")
        return limit is not None and bool(limit(size))  # An older agent has none.


def open_files(device: RemoteDevice) -> DeviceFiles:
    """Through the agent's own functions, or through a probe."""
    return _AgentFiles(device) if device.function("blinknet.read_text") else Probe(device)


def describe_device(device: RemoteDevice) -> str:
    """The device's Description in JSON."""
    if own := device.function("blinknet.describe"):
        return str(own())
    triple = device.session.get_function("target.llvm_get_system_triple")()
    return describe(open_files(device).read, triple.partition("-")[0], "stock").to_json()
