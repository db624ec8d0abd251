"""Plain bytes between a session's process and its parent, and what is believed of them."""

import json
import math
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import answers, plain
from tracker.failure import GarbledError
from tracker.timing import Timing


def test_records_numbers_texts_and_arrays_cross() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    timing = Timing("matmul", 3, (1e-3, 0.1 + 0.2), converged=True)
    kind, value = plain.decode(plain.encode(("item", {"a": [array, None, "text"], "b": timing})))
    assert kind == "item"
    np.testing.assert_array_equal(value["a"][0], array)
    assert value["a"][1:] == [None, "text"]
    assert answers.timing(value["b"], "matmul", 2) == timing


@given(st.binary(max_size=200))
def test_bytes_that_mean_nothing_are_garbled(data: bytes) -> None:
    try:
        plain.decode(data)
    except GarbledError:
        return
    assert json.loads(data[8:]) is not Ellipsis  # By chance it was JSON with its length in front.


def _framed(text: str) -> bytes:
    return struct.pack("<q", len(text)) + text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pickle.dumps(("result", None)),
        struct.pack("<q", -1) + b"null",
        struct.pack("<q", 1 << 60) + b"null",
        _framed("null") + b"more",
        _framed('{"array": [1000000000]}'),
        _framed('{"array": [-1, -1]}') + b"1234",
        _framed('{"array": "x"}'),
        _framed('{"array": [1.5]}') + b"123456",
        _framed("{}"),
        _framed("[" * 100_000),
    ],
)
def test_a_crafted_answer_is_garbled(data: bytes) -> None:
    with pytest.raises(GarbledError):
        plain.decode(data)


TIMING = {"symbol": "f", "number": 2, "seconds": [1e-3], "converged": True}


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "g"},
        {"number": 0},
        {"number": 1.5},
        {"converged": 1},
        {"seconds": []},
        {"seconds": [1e-3] * 9},
        {"seconds": [math.nan]},
        {"seconds": [0.0]},
        {"seconds": [1e9]},
        {"seconds": [True]},
        {"seconds": "0.1"},
    ],
)
def test_a_timing_that_cannot_be(change: dict[str, object]) -> None:
    assert answers.timing(TIMING, "f", 8).seconds == (1e-3,)
    with pytest.raises(GarbledError):
        answers.timing(TIMING | change, "f", 8)


@pytest.mark.parametrize("value", [None, 7, [], [np.zeros((2, 4), np.float32)], [None], ["x"] * 10])
def test_answers_of_other_shapes(value: object) -> None:
    with pytest.raises(GarbledError, match="shapes"):
        answers.arrays(value, [(2, 3)])


@pytest.mark.parametrize(
    "value", [None, {}, {"a": [1.0]}, {"a": [1.0, 1.0], "b": [1.0, 1.0]}, [["a", [1.0]]]]
)
def test_times_of_other_networks(value: object) -> None:
    with pytest.raises(GarbledError):
        answers.timings(value, ["a"], 2)


@pytest.mark.parametrize("value", [None, 0, -1, 1 << 60, True, "1", 1.0])
def test_memory_that_cannot_be(value: object) -> None:
    with pytest.raises(GarbledError):
        answers.byte_count(value)


@pytest.mark.parametrize("value", [7, [], ["host"], ["host", 0], ["host", "9"], [1, 2], ["h" * 5000, 9]])
def test_a_place_that_is_none(value: object) -> None:
    with pytest.raises(GarbledError):
        answers.place(value)


def test_a_failure_is_one_of_ours_and_short() -> None:
    assert answers.failure("crash", "x" * 10_000) == ("crash", "x" * answers.LONGEST_MESSAGE)
    for kind, message in (("build", ""), ("crash", 7), (None, "")):
        with pytest.raises(GarbledError):
            answers.failure(kind, message)
