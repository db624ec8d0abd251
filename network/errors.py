"""The one exception that ``network`` raises for wrong input."""

from __future__ import annotations


class NetworkError(ValueError):
    """Wrong input. The message says what is wrong, where, and what to do next."""
