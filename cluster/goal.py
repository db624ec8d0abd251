"""What is asked of a device: bounds, and the objective, which is to be least inside them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from cluster import problem
from runtime.bounds import Bounds
from runtime.configuration import Costs

Objective = Literal["loss", "latency", "memory", "storage"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

SOLVED: Mapping[Objective, problem.Objective] = {
    "loss": "divergence",
    "latency": "latency",
    "memory": "memory",
    "storage": "storage",
}
"""What the solver adds up for each."""
COSTS: Mapping[Objective, str] = {
    "loss": "loss_pp",
    "latency": "latency_s",
    "memory": "peak_bytes",
    "storage": "storage_bytes",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """Of all configurations inside the bounds, the one with the least of something."""

    bounds: Bounds
    objective: Objective = "loss"

    @property
    def solved(self) -> problem.Objective:
        """The objective as the solver knows it."""
        return SOLVED[self.objective]

    def cost(self, costs: Costs) -> float:
        """What is to be least, in seconds, bytes or percentage points."""
        return float(getattr(costs, COSTS[self.objective]))

    def flaw(self) -> str | None:
        """Why nobody can want this, or ``None``."""
        if self.objective == "loss" or self.bounds.loss or self.bounds.accuracy:
            return None
        return (
            f"is {self.objective}, and no bound says how much may be lost for it; "
            "state one besides, such as loss 1pp or accuracy 90%"
        )

    def __str__(self) -> str:
        return str(self.bounds) if self.objective == "loss" else f"least {self.objective}, {self.bounds}"
