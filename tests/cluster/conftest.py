import pytest

from cluster.planning import ClassPlan, plan_class
from network.target import Target
from tests.small_network import Small


@pytest.fixture(scope="session")
def plan(small: Small) -> ClassPlan:
    """The small network on the oldest x86 level."""
    return plan_class("lab", Target("x86_64-linux-gnu", "x86-64-v2", ()), small.known)
