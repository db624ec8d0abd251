from cluster.texts import costs_cells, layers_text, nearest_text
from runtime.configuration import Costs


def test_neighbours_with_the_same_choice_stand_together():
    choices = [("conv1", "int8"), ("conv2", "int8"), ("conv3", "exact"), ("ip1", "int8")]
    assert layers_text(choices) == "conv1,conv2 int8 · conv3 exact · ip1 int8"
    assert layers_text([]) == ""


def test_the_nearest_bounds_have_units():
    text = nearest_text({"latency": 7.5e-5, "memory": 2048, "storage": 512, "loss": 1.25})
    assert text.startswith("INFEASIBLE; with the other bounds kept, the nearest feasible: ")
    assert text.endswith(": latency 0.075 ms, memory 2 KiB, storage 0.5 KiB, loss 1.25 pp")


def test_a_bound_that_cannot_help_is_named():
    assert nearest_text({"latency": None, "loss": 0.0}).endswith(": no latency helps, loss 0 pp")


def test_costs_show_their_share_of_the_exact_ones():
    exact = Costs(4e-4, 4096, 2048, 0.0)
    cells = costs_cells(Costs(1e-4, 1024, 1024, -0.1), exact, 99.9)
    assert cells == ("0.100 ms p99.9 (25%)", "1 KiB (25%)", "1 KiB (50%)", "-0.10 pp")
    assert costs_cells(exact, exact, 95.0)[3] == "+0.00 pp"
