"""What a run may measure, as a user writes it."""

import pytest

from cluster.budget import UNLIMITED, Budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("90s", Budget(seconds=90)),
        ("5m", Budget(seconds=300)),
        ("1.5h", Budget(seconds=5400)),
        ("200", Budget(measurements=200)),
    ],
)
def test_times_and_counts(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "5 minutes", "-3", "2d", "1.5"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no budget; write a time such as 90s"):
        Budget.parse(text)


def test_whichever_ends_first() -> None:
    both = Budget(60.0, 100)
    assert not both.spent(59.0, 99)
    assert both.spent(60.0, 0)
    assert both.spent(0.0, 100)
    assert both.after(50.0).spent(10.0, 0)
    assert not UNLIMITED.after(1e9).spent(1e9, 10**9)
