import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bounds import SIZE, TIME, Bound, Bounds, parse_bound
from runtime.configuration import Costs
from runtime.errors import BoundsError

EXACT = Costs(latency_s=1e-3, peak_bytes=1_000_000, storage_bytes=500_000, loss_pp=0.0, accuracy=0.91)


def test_relative_bounds_are_shares_of_the_exact_configuration():
    bounds = Bounds.parse({"latency": "20%", "memory": "60%", "storage": "50%"}).resolve(EXACT)
    assert bounds.latency_s == pytest.approx(0.2e-3)
    assert (bounds.memory_bytes, bounds.storage_bytes) == (600_000, 250_000)
    assert bounds.percentile == 95
    assert bounds.loss_pp is None


def test_absolute_bounds_do_not_look_at_the_exact_configuration():
    bounds = Bounds.parse(
        {"latency": "120us@p99", "memory": "1MiB", "storage": 900, "loss": "1.5pp"}
    ).resolve(EXACT)
    assert bounds.latency_s == pytest.approx(120e-6)
    assert bounds.percentile == 99
    assert (bounds.memory_bytes, bounds.storage_bytes, bounds.loss_pp) == (2**20, 900, 1.5)


def test_the_tighter_of_loss_and_accuracy_counts():
    loose, tight = {"loss": "5pp", "accuracy": "90%"}, {"loss": "0.5pp", "accuracy": "90%"}
    assert Bounds.parse(loose).resolve(EXACT).loss_pp == pytest.approx(1.0)
    assert Bounds.parse(tight).resolve(EXACT).loss_pp == 0.5


def test_an_accuracy_above_the_exact_one_leaves_no_loss_at_all():
    loss = Bounds.parse({"accuracy": "95%"}).resolve(EXACT).loss_pp
    assert loss is not None
    assert loss < 0


def test_a_minimum_accuracy_needs_the_exact_one():
    unknown = Costs(1e-3, 1, 1, 0.0)
    with pytest.raises(BoundsError, match="evaluate it first"):
        Bounds.parse({"accuracy": "90%"}).resolve(unknown)


def test_violated_names_what_is_exceeded():
    limits = Bounds.parse({"latency": "50%", "memory": "100%", "loss": "1pp"}).resolve(EXACT)
    assert limits.violated(Costs(0.4e-3, 1_000_000, 10**9, 1.0)) == ()
    assert limits.violated(Costs(0.6e-3, 1_000_001, 10**9, 1.1)) == ("latency", "memory", "loss")


def test_the_command_line_overrides_one_bound_and_keeps_the_others():
    bounds = Bounds.parse({"latency": "20%", "loss": "1pp"}).override(parse_bound("latency = 0.5 ms"))
    assert bounds.to_dict() == {"latency": "0.5ms@p95", "loss": "1pp"}


AMOUNTS = st.floats(min_value=1e-6, max_value=1e6)


@given(AMOUNTS, st.sampled_from(["%", *TIME]), st.floats(min_value=1, max_value=99.9))
def test_a_latency_reads_back_as_written(amount, unit, percentile):
    bound = Bound("latency", amount, unit, percentile)
    assert Bound.parse("latency", str(bound)) == bound


@given(st.sampled_from(["memory", "storage"]), AMOUNTS, st.sampled_from(["%", *SIZE]))
def test_a_size_reads_back_as_written(quantity, amount, unit):
    bound = Bound(quantity, amount, unit)
    assert parse_bound(f"{quantity}={bound}") == bound


@pytest.mark.parametrize(
    ("quantity", "stated", "reason"),
    [
        ("latency", "20", "has no unit"),
        ("latency", "20MB", "has the unit 'MB'"),
        ("latency", "0%", "is not above 0"),
        ("latency", "-1ms", "cannot be read"),
        ("latency", "1ms@p100", "has the percentile 100"),
        ("latency", None, "is no text or number"),
        ("memory", True, "is no text or number"),
        ("memory", "1MiB@p95", "has the percentile 95"),
        ("memory", "1e999B", "is not above 0"),
        ("loss", "1%", "has the unit '%'"),
        ("accuracy", "101%", "is above 100%"),
    ],
)
def test_a_wrong_bound_is_refused_with_an_example(quantity, stated, reason):
    with pytest.raises(BoundsError) as caught:
        Bounds.parse({quantity: stated})
    assert reason in str(caught.value)
    assert f"{quantity} {stated!r}" in str(caught.value)
    assert "; write '" in str(caught.value)


def test_an_unknown_quantity_gets_the_closest_one():
    with pytest.raises(
        BoundsError, match=r"did you mean 'latency'.*latency, memory, storage, loss, accuracy"
    ):
        parse_bound("latncy=20%")
    with pytest.raises(BoundsError, match="has no '='"):
        parse_bound("latency:20%")
