import pytest

from cluster.needs import Spent
from cluster.rounds import Rounds


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rounds.json"


def test_rounds_survive_the_driver(path):
    rounds = Rounds(path, "bounds")
    assert rounds.of("lab.one") == 0
    for device in ("lab.one", "lab.one", "lab.two"):
        rounds.add(device)
    again = Rounds(path, "bounds")
    assert (again.of("lab.one"), again.of("lab.two"), again.of("lab.three")) == (2, 1, 0)


def test_evaluations_are_counted_beside_rounds(path):
    rounds = Rounds(path, "bounds")
    rounds.add("lab.one")
    for _ in range(3):
        rounds.add_evaluation("lab.one")
    assert Rounds(path, "bounds").spent("lab.one") == rounds.spent("lab.one") == Spent(1, 3)
    assert Rounds(path, "other bounds").spent("lab.one") == rounds.spent("lab.two") == Spent(0, 0)


def test_other_bounds_start_from_nothing_and_replace_the_earlier_ones(path):
    Rounds(path, "bounds").add("lab.one")
    other = Rounds(path, "other bounds")
    assert other.of("lab.one") == 0
    other.add("lab.two")
    assert Rounds(path, "bounds").of("lab.one") == 0
    assert Rounds(path, "other bounds").of("lab.two") == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"rounds": {"lab.one": 3}}', '{"terms": "bounds", "rounds": 3}']
)
def test_a_damaged_file_counts_for_nothing(path, text):
    path.write_text(text)
    rounds = Rounds(path, "bounds")
    assert rounds.of("lab.one") == 0
    rounds.add("lab.one")
    assert Rounds(path, "bounds").of("lab.one") == 1


def test_asking_writes_nothing(path):
    Rounds(path, "bounds").of("lab.one")
    assert not path.exists()
