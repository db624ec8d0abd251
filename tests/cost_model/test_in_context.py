"""What kernels take at their places, from what was read there and what they take alone."""

from random import Random

import pytest

from cost_model.end_to_end import EndToEnd, Observation
from cost_model.in_context import InContext, Placement, Point, Reading

ALONE = {"conv a tile8": 1e-5, "conv a tile4": 2e-5, "conv b tile8": 3e-5, "pool tile": 1e-7}
BYTES = {"conv a tile8": 4000, "conv a tile4": 4000, "conv b tile8": 100_000, "pool tile": 0}


def world(alone_s: float, parameter_bytes: int) -> float:
    """Calls take time, and weights come from memory."""
    return 1.05 * alone_s + 3e-7 + 2e-11 * parameter_bytes


def test_call_and_cold_weights_are_learnt_from_a_few_kernels() -> None:
    random = Random(1)
    drawn = [(10 ** random.uniform(-7.5, -4), random.choice([0, 500, 40_000, 600_000])) for _ in range(12)]
    placement = Placement.fit([Point(alone, size, world(alone, size)) for alone, size in drawn])
    for alone, size in [(1e-8, 0), (5e-5, 0), (6e-6, 590_000)]:
        assert placement.placed_s(alone, size) == pytest.approx(world(alone, size), rel=1e-3)


def test_without_anything_read_a_kernel_takes_what_it_takes_alone() -> None:
    assert Placement.fit([]).placed_s(1e-5, 1000) == 1e-5


def test_nothing_is_ever_saved_by_a_call() -> None:
    placement = Placement.fit([Point(1e-5, 0, 9e-6), Point(1e-6, 10, 8e-7)])
    assert min(placement.scale, placement.call_s, placement.byte_s) >= 0


SIZE = 1_000_000
"""Of the weights of every configuration, where that does not matter."""


@pytest.fixture
def context() -> InContext:
    readings = [
        Reading(("conv1", "conv a tile8"), SIZE, 1.4e-5),
        Reading(("conv2", "conv a tile8"), SIZE, 1.6e-5),
        Reading(("pool", "pool tile"), SIZE, 5e-7),
    ]
    return InContext(readings, 2e-6, ALONE, BYTES)


def seconds(context: InContext, layer: str, kernel: str) -> float:
    return context.at(SIZE).seconds((layer, kernel), ALONE[kernel], BYTES[kernel])


def test_what_was_read_there_counts_first(context: InContext) -> None:
    assert seconds(context, "conv1", "conv a tile8") == pytest.approx(1.4e-5)
    assert seconds(context, "conv2", "conv a tile8") == pytest.approx(1.6e-5)


def test_then_the_same_kernel_elsewhere(context: InContext) -> None:
    assert seconds(context, "conv3", "conv a tile8") == pytest.approx(1.5e-5)


def test_another_tile_of_a_kernel_pays_the_same_on_top(context: InContext) -> None:
    assert seconds(context, "conv1", "conv a tile4") == pytest.approx(2e-5 + 0.5e-5)


def test_anything_else_is_modelled(context: InContext) -> None:
    expected = context.at(SIZE).placement.placed_s(ALONE["conv b tile8"], BYTES["conv b tile8"])
    assert seconds(context, "conv4", "conv b tile8") == expected
    assert expected > ALONE["conv b tile8"]


def test_a_slower_unit_takes_longer_everywhere(context: InContext) -> None:
    slower = context.times(1.5)
    for layer, kernel in (("conv1", "conv a tile8"), ("conv3", "conv a tile8"), ("pool", "pool tile")):
        assert seconds(slower, layer, kernel) == pytest.approx(1.5 * seconds(context, layer, kernel))
    assert slower.rest_s == pytest.approx(1.5 * context.rest_s)
    # What is modelled starts from what it takes alone on that very unit.
    alone_s, size = 1.5 * ALONE["conv b tile8"], BYTES["conv b tile8"]
    modelled = 1.5 * seconds(context, "conv4", "conv b tile8")
    assert slower.at(SIZE).seconds(("conv4", "conv b tile8"), alone_s, size) == pytest.approx(modelled)


def test_weights_are_cold_where_a_configuration_has_many() -> None:
    """Whether they fit into a cache decides; readings of configurations of other sizes count little."""

    def cold(footprint: int) -> float:
        return 2e-11 if footprint > 1_500_000 else 2e-12

    sizes = {f"conv {n} tile": 20_000 * (1 + n % 7) for n in range(40)}
    alone = {key: 1e-6 * (1 + n % 5) for n, key in enumerate(sizes)}
    footprints = (600_000, 900_000, 2_400_000, 3_600_000)

    def takes(key: str, footprint: int) -> float:
        return 1.05 * alone[key] + 3e-7 + cold(footprint) * sizes[key]

    readings = [
        Reading((key, key), footprints[n % 4], takes(key, footprints[n % 4]))
        for n, key in enumerate(list(sizes)[:30])
    ]
    context = InContext(readings, 0.0, alone, sizes)
    for footprint in (700_000, 3_000_000):
        for key, size in sizes.items():  # The last ones were never read, the others in one configuration.
            found = context.at(footprint).seconds((key, key), alone[key], size)
            assert found == pytest.approx(takes(key, footprint), rel=0.05)


def test_the_nearest_readings_count_most() -> None:
    readings = [Reading(("conv1", "conv a tile8"), size, 1e-5 * size / SIZE) for size in (SIZE, 4 * SIZE)]
    context = InContext(readings, 0.0, {}, BYTES)
    found = [
        context.at(size).seconds(("conv1", "conv a tile8"), 1e-5, 4000) for size in (SIZE, 2 * SIZE, 4 * SIZE)
    ]
    assert found == sorted(found)
    assert found[0] == pytest.approx(1e-5, rel=0.01)
    assert found[-1] == pytest.approx(4e-5, rel=0.01)


def test_the_percentile_is_a_factor_of_kernels_and_rest() -> None:
    runs = [Observation(each, 1.1 * (each + 2e-6)) for each in (1e-4, 3e-5, 5e-5)]
    assert EndToEnd.in_context(runs, 2e-6).predict_s(7e-5) == pytest.approx(1.1 * 7.2e-5)
    assert EndToEnd.in_context([], 2e-6).predict_s(7e-5) == pytest.approx(7.2e-5)


def test_one_lucky_run_is_not_believed_and_a_slow_last_one_is() -> None:
    usual = [Observation(1e-4, 1.1e-4)] * 3
    lucky, slow = Observation(1e-4, 0.9e-4), Observation(1e-4, 1.3e-4)
    for cautious, after_slow in ((True, 1.3), (False, 1.1)):
        believed = [EndToEnd.in_context([*usual, each], 0.0, cautious=cautious) for each in (lucky, slow)]
        assert [each.scale for each in believed] == pytest.approx([1.1, after_slow])
