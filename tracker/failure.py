"""What went wrong with a device: a value that can be stored, and the exception that carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FailureKind = Literal[
    "build", "tracker", "unreachable", "busy", "timeout", "crash", "refused", "garbled", "skipped"
]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation on a device gave no result.

    ``build``: there is no library to run. ``tracker``: it does not answer; that says nothing of the device.
    ``unreachable``: no such device, or it does not answer.
    ``busy``: others used it until the deadline. ``timeout``: no answer in time. ``crash``: the session died.
    ``refused``: the device answered with an error. ``garbled``: what was sent arrived damaged, or the answer
    makes no sense. ``skipped``: an earlier operation ended the session.
    """

    kind: FailureKind
    message: str
    device: str
    operation: str

    def __str__(self) -> str:
        return f"{self.device}: {self.operation}: {self.kind}: {self.message}"


class GarbledError(ValueError):
    """What was sent did not arrive as it was, or what came back cannot be."""


class SessionFailed(Exception):  # noqa: N818 (it says what happened, like every Failure)
    """A session ended because of ``failure``; open another one."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure
