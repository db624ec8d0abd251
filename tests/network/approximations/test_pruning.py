"""Variants that another one beats in everything are not there; nothing else is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from network.approximations import catalogue
from network.approximations.pruning import Merit, undominated
from network.samples import Samples

MERIT = Merit(error=1.0, felt=1.0, operations=100, values=10, live=10, kernels=1)


@pytest.mark.parametrize(
    "worse",
    [{"error": 2.0}, {"felt": 2.0}, {"operations": 101}, {"values": 11}, {"live": 11}, {"kernels": 2}],
)
def test_what_is_no_better_in_anything_goes(worse):
    dominated = replace(MERIT, **worse)
    assert undominated({"exact": MERIT, "a": dominated, "b": MERIT}) == {"exact"}
    assert undominated({"a": dominated, "b": MERIT}) == {"b"}


@pytest.mark.parametrize(
    "better", [{"error": 0.9}, {"felt": 0.9}, {"operations": 99}, {"values": 9}, {"live": 9}, {"kernels": 0}]
)
def test_what_is_better_in_one_thing_stays(better):
    other = replace(MERIT, **{"error": 2.0, "operations": 200, **better})
    assert undominated({"a": MERIT, "b": other}) == {"a", "b"}


def test_of_equals_the_first_stays_and_the_whole_layer_whatever_is_beside_it():
    assert undominated({"a": MERIT, "b": MERIT}) == {"a"}
    assert undominated({"exact": MERIT, "b": replace(MERIT, operations=1)}) == {"exact", "b"}


@pytest.mark.parametrize(("axis", "left"), [(2, "rows"), (3, "cols")])
def test_perforation_goes_along_the_axis_that_says_more(network, samples, axis, left):
    """Images that hardly change along one axis: skipping along it loses less and costs the same."""
    square = replace(
        network,
        layers=(
            replace(network["input"], input_shape=(10, 10, 3), output_shape=(10, 10, 3)),
            replace(network["conv1"], input_shape=(10, 10, 3), output_shape=(10, 10, 16)),
        ),
        outputs=(),
    )
    rough = np.random.default_rng(3).normal(size=(len(samples), 3, 10, 10)).astype(np.float32)
    smooth = rough.take([0], axis=axis) + 0.05 * rough
    known = catalogue(square, Samples(smooth, samples.y))
    found = {each.approximation for each in known.variants["conv1"]}
    other = {"cols": "rows", "rows": "cols"}[left]
    assert {"exact", "int8"} <= found
    for prefix in ("", "int8+"):
        assert {f"{prefix}perforate({left}={step})" for step in (2, 3, 4)} & found
        assert not {f"{prefix}perforate({other}={step})" for step in (2, 3, 4)} & found


def test_the_whole_layer_stays_in_every_form_and_format(known):
    for layer in ("conv1", "conv2", "fc", "out"):
        variants = known.variants[layer]
        for each in variants:
            whole = "int8" if each.approximation.startswith("int8") else "exact"
            assert any(
                other.approximation == whole and other.writes == each.writes and other.reads.channels == 0
                for other in variants
            )
