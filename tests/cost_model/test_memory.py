from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cost_model.memory import LayerMemory, peak_bytes
from network.variants import Work

sizes = st.integers(0, 10**9)
layers = st.lists(
    st.builds(LayerMemory, parameter_bytes=sizes, live_bytes=sizes, output_bytes=sizes), max_size=6
)


def work(input_bytes: int, output_bytes: int, parameter_bytes: int, workspace_bytes: int) -> Work:
    return Work(1, 0, input_bytes, output_bytes, parameter_bytes, workspace_bytes)


def test_a_variant_of_two_kernels_keeps_both_parameters_and_one_live_set() -> None:
    narrow, wide = work(100, 20, 1000, 5), work(20, 300, 2000, 0)
    assert LayerMemory.of([narrow, wide]) == LayerMemory(
        parameter_bytes=3000, live_bytes=320, output_bytes=300
    )
    assert LayerMemory.of([]) == LayerMemory(0, 0)


def test_the_peak_is_all_parameters_and_the_largest_live_set() -> None:
    network = [LayerMemory(1000, 50), LayerMemory(200, 700), LayerMemory(0, 90)]
    assert peak_bytes(network) == 1200 + 700


def test_outputs_that_wait_for_a_later_layer_count_beside_what_runs() -> None:
    network = [LayerMemory(0, 10, 40), LayerMemory(0, 100, 30), LayerMemory(0, 80, 20)]
    assert peak_bytes(network, [(), (0,), ()]) == 140
    assert peak_bytes(network, [(), (), (0, 1)]) == 150


@given(
    network=layers, more=st.builds(LayerMemory, parameter_bytes=sizes, live_bytes=sizes, output_bytes=sizes)
)
def test_another_layer_never_needs_less(network: list[LayerMemory], more: LayerMemory) -> None:
    assert peak_bytes([*network, more]) >= peak_bytes(network) + more.parameter_bytes
