"""What goes wrong because of what the user gave; every message ends with what to do next."""

from __future__ import annotations


class RuntimeInputError(ValueError):
    """Base of this package's errors about wrong input."""


class BoundsError(RuntimeInputError):
    """A bound that cannot be understood or can never hold."""


class RecordError(RuntimeInputError):
    """Data that is no record of the expected kind."""


class BundleError(RuntimeInputError):
    """A bundle that cannot be written, is damaged, or is not for this machine."""


class SampleError(RuntimeInputError):
    """An input that the bundle's network cannot take."""


class TooFewRunsError(RuntimeInputError):
    """Not enough runs to say anything about that percentile at that confidence."""
