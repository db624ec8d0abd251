class CostModelError(ValueError):
    """What was asked of the cost model cannot be answered; the message says what to do next."""


class StoreError(CostModelError):
    """The measurement store cannot be opened, read or appended to."""
