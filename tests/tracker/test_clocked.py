"""Networks whose kernels read a clock, behind every server that we know."""

from pathlib import Path

import numpy as np
import pytest

from network.clocked import assemble_clocked
from tests.small_network import Small
from tests.tracker.models import target_of
from tests.tracker.servers import Kind
from tracker import answers
from tracker.address import Address
from tracker.clocked import ClockedNetwork, intervals
from tracker.device import DeviceKey
from tracker.failure import GarbledError
from tracker.session import Session
from tracker.timing import Argument

ROUNDS, REPEATS = 3, 4
RUNS = ROUNDS * REPEATS
STAMPS = Argument((1 + 2 * 3 * 4,), "int64", "zeros")
NETWORK = ClockedNetwork("clocked_0", (), STAMPS, kernels=2)


@pytest.fixture(scope="session")
def clocked(
    kind: Kind, small: Small, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[ClockedNetwork]]:
    """The small network with the first and with the last tile of every kernel."""
    target, path = target_of(kind.architecture), tmp_path_factory.mktemp("clocked") / "clocked.so"
    exact = {layer: small.known.alone(layer, "exact").kernels for layer in small.layers}
    configurations = [
        {name: [(each, each.tiles(target.isa)[index]) for each in kernels] for name, kernels in exact.items()}
        for index in (0, -1)
    ]
    found = assemble_clocked(small.network, configurations, target, REPEATS + 1, path)
    return path, [ClockedNetwork(each.entry, each.arguments, each.stamps, len(each.places)) for each in found]


def test_every_kernel_of_every_run_is_timed(
    tracker: Address, device: DeviceKey, clocked: tuple[Path, list[ClockedNetwork]]
) -> None:
    library, networks = clocked
    with Session.open(tracker, device) as session:
        times = session.time_clocked(library, networks, ROUNDS, REPEATS)
        again = session.time_clocked(library, networks[:1], 1, REPEATS)
    assert [len(each) for each in (times, again)] == [2, 1]
    for found, network in zip(times, networks, strict=True):
        assert found.clock_s.shape == (RUNS,)
        assert found.kernel_s.shape == (RUNS, network.kernels)
        assert (found.kernel_s.sum(axis=1) > 0).all()
        assert (found.kernel_s.sum(axis=1) < found.network_s).all()
        assert (found.rest_s < found.network_s).all()


def stamped(*nanoseconds: int, count: int | None = None) -> np.ndarray:
    """Words of so many stamps, with room for a few more."""
    pairs = [divmod(each, 1_000_000_000) for each in nanoseconds]
    words = [len(pairs) if count is None else count, *(word for pair in pairs for word in pair)]
    return np.array([*words, 0, 0, 0, 0], np.int64)


def test_the_first_run_is_left_out() -> None:
    words = stamped(0, 1, 2, 3, 999_999_990, 1_000_000_010, 1_000_000_510, 1_000_001_510)
    ((clock_s, *kernel_s),) = intervals(words, runs=1, kernels=2)
    assert clock_s == pytest.approx(20e-9)
    assert kernel_s == pytest.approx([500e-9, 1000e-9])


def test_words_of_32_bits_say_the_same() -> None:
    words = stamped(0, 1, 2, 3, 999_999_990, 1_000_000_010, 1_000_000_510, 1_000_001_510)
    assert intervals(words.astype(np.int32), 1, 2) == intervals(words, 1, 2)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (stamped(0, 1, 2, 3), "4 stamps of a clock instead of 8"),
        (stamped(0, 1, 2, 3, count=8), "8 stamps of a clock instead of 8"),
        (stamped(0, 1, 2, 3, 4, 5, 7, 6), "backwards"),
    ],
)
def test_stamps_that_no_clock_leaves_are_garbled(words: np.ndarray, complaint: str) -> None:
    with pytest.raises(GarbledError, match=complaint):
        intervals(words, runs=1, kernels=2)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [[[1e-8, 1e-6, 1e-6, 3e-6]], [[1e-8, 1e-6, 1e-6, 3e-6]]],
        [[[1e-8, 1e-6, 1e-6]]],
        [[[1e-8, 1e-6, 1e-6, 3e-6]] * 2],
        [[[1e-8, 1e-6, -1e-6, 3e-6]]],
        [[[1e-8, 1e-6, 1e-6, float("nan")]]],
    ],
)
def test_answers_of_another_shape_are_garbled(value: object) -> None:
    with pytest.raises(GarbledError):
        answers.clocked(value, [NETWORK], runs=1)


def test_an_honest_answer_is_believed() -> None:
    rows = [[1e-8, 0.0, 1e-6, 1.5e-6], [2e-8, 1e-6, 3e-6, 4e-6]]
    (found,) = answers.clocked([rows], [NETWORK], runs=2)
    np.testing.assert_array_equal(found.clock_s, [1e-8, 2e-8])
    np.testing.assert_array_equal(found.kernel_s, [[0.0, 1e-6], [1e-6, 3e-6]])
    np.testing.assert_array_equal(found.network_s, [1.5e-6, 4e-6])
    np.testing.assert_allclose(found.rest_s, [0.48e-6, 0.0])
