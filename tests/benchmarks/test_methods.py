import json
from dataclasses import replace

import pytest

from benchmarks.methods import figures, report
from benchmarks.methods_effects import Row, effects

ROW = Row("conv1", "lowrank(1/2)", True, 0.5, 0.5, 0.6, 0.01)
GONE = replace(ROW, approximation="perforate(rows=2)", offered=False, divergence=0.02)
MISSED = replace(GONE, approximation="perforate(cols=2)", divergence=0.005)


def test_the_last_line_counts_what_was_left_out_and_should_not_have_been():
    told = json.loads(json.dumps(figures([ROW, GONE, MISSED])))
    assert (told["approximations"], told["left_out"], told["missed"]) == (3, 2, 1)
    assert told["divergence"]["conv1 perforate(rows=2)"] == 0.02


@pytest.mark.parametrize("worse", [{"operations": 0.6}, {"weights": 0.6}, {"divergence": 0.03}])
def test_another_layer_or_a_dearer_row_beats_nothing(worse):
    assert ROW.beats(GONE)
    assert not replace(ROW, **worse).beats(GONE)
    assert not replace(ROW, layer="conv2").beats(GONE)


def test_people_read_which_are_left_out(capsys):
    report([ROW, GONE])
    lines = capsys.readouterr().out.splitlines()
    assert ["left out" in line for line in lines[-2:]] == [False, True]
    assert "50%" in lines[-1]


def test_every_method_is_tried_on_a_real_network():
    rows = effects("cifar10_quick", 32, 32)
    methods = {row.approximation.split("(")[0] for row in rows if row.layer == "conv2"}
    assert methods == {"bf16", "channels", "int8", "lowrank", "perforate", "spatial", "taps", "w4", "w8"}
    assert all(row.time > 0 and row.divergence >= 0 for row in rows)
    assert any(not row.offered for row in rows)
