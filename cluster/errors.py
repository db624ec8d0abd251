"""Wrong input to a run: one message with what is wrong, where, and what to do."""


class ClusterError(ValueError):
    """A run cannot start or go on."""
