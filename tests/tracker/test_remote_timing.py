import json

import pytest

from tracker.remote_timing import read_answer


def test_a_device_s_answer_is_calls_in_a_repeat_and_seconds_of_each() -> None:
    assert read_answer(json.dumps((10, (1e-4, 2e-4))), 200) == (10, (1e-4, 2e-4))
    assert read_answer("null", 200) == (0, ())


NONSENSE = ["", "[]", "{}", "[1]", "[1, 2]", "[0, [0.1]]", "[1, []]", '[1, ["a"]]', "[1, [-1.0]]"]
NONSENSE += ["[1, [NaN]]", "[1, [Infinity]]", "[1.5, [0.1]]", "[1, [0.1, 0.1, 0.1, 0.1]]", '["1", [0.1]]']


@pytest.mark.parametrize("answer", NONSENSE)
def test_what_no_timing_can_be_is_refused(answer: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_answer(answer, 3)
