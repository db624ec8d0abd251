"""The scale benchmark, small: its figures are those of a run that is checked, and its last line is JSON."""

import json
import subprocess
import sys

import pytest
from rich.console import Console

from benchmarks.scale import Size, show, simulate

SMALL = Size(classes=3, units=5, requests=300, build_slots=8, late=4, deadly=1)


def test_a_small_fleet_comes_to_an_end_and_says_what_it_did(capsys: pytest.CaptureFixture[str]):
    result = simulate(SMALL)
    assert (result.devices, result.classes, result.requests) == (15, 3, 900)
    assert result.makespan_vs_ideal > 1.0
    assert result.whole_run_s > result.makespan_s > result.ideal_s
    assert result.discarded >= SMALL.classes * SMALL.deadly
    show(result, Console())
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["events"] == result.events
    assert {"events_per_s", "peak_memory_mb", "makespan_vs_ideal"} <= figures.keys()


def test_the_same_simulation_gives_the_same_figures_but_for_the_clock():
    one, two = (simulate(SMALL) for _ in range(2))
    assert (one.makespan_s, one.events, one.measured) == (two.makespan_s, two.events, two.measured)


def test_it_says_how_it_is_used():
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "--help"], capture_output=True, text=True, check=True
    )
    assert "--quick" in process.stdout
