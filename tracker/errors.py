"""What goes wrong because of what the user gave."""

from __future__ import annotations


class TrackerError(ValueError):
    """Wrong input, or a tracker or device that is not there; the message ends with what to do next."""
