"""Why the agent in C++ cannot be had."""

from __future__ import annotations

from tracker.errors import TrackerError


class EdgeBuildError(TrackerError):
    """The agent cannot be built here."""


class MissingToolError(EdgeBuildError):
    """A compiler or an emulator is missing; the message says what to install."""
