"""Fingerprints as the store keeps them."""

from dataclasses import replace
from pathlib import Path

import pytest

from cost_model.device_event import DeviceEvent
from cost_model.errors import CostModelError
from cost_model.fingerprint import (
    Fingerprint,
    fingerprint_event,
    fingerprint_of,
    identity,
    known_fingerprint,
)
from cost_model.store import Store
from tracker.device import Description

DEVICE = "rpi4.unit-01"
BOARD = Description(
    architecture="aarch64",
    cpu="Cortex-A72",
    features=("asimd", "crc32"),
    cores=4,
    memory_bytes=4 << 30,
    clock_hz=1.5e9,
    temperature_c=51.0,
    host="first-boot",
    timing_cores=(3,),
    pid=17,
    agent="blinknet",
)
FOUND = Fingerprint(float32_gflops=11.5, int8_gops=13.25, bandwidth_gb_s=3.5, call_s=2.5e-8)


def test_a_fingerprint_is_found_again_in_the_store(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite") as store:
        store.append_device_events([fingerprint_event(DEVICE, BOARD, FOUND, 1000.0)])
        (event,) = store.device_events(DEVICE)
    assert fingerprint_of(event) == FOUND
    assert known_fingerprint([event], BOARD) == FOUND
    assert (event.facts["architecture"], event.facts["features"]) == ("aarch64", "asimd crc32")


def test_a_reboot_on_a_warm_day_is_the_same_device() -> None:
    later = replace(BOARD, host="second-boot", temperature_c=70.0, clock_hz=6e8, pid=3, memory_bytes=1 << 30)
    event = fingerprint_event(DEVICE, BOARD, FOUND, 1000.0)
    assert identity(later) == identity(BOARD)
    assert known_fingerprint([event], later) == FOUND


@pytest.mark.parametrize(
    "change", [{"cpu": "Cortex-A76"}, {"features": ("asimd",)}, {"timing_cores": (2, 3)}, {"cores": 8}]
)
def test_a_device_that_says_something_else_of_itself_is_another_one(change: dict[str, object]) -> None:
    other = replace(BOARD, **change)  # type: ignore[arg-type]
    assert known_fingerprint([fingerprint_event(DEVICE, BOARD, FOUND, 1000.0)], other) is None


def test_the_latest_fingerprint_counts_and_other_events_are_none() -> None:
    faster = replace(FOUND, float32_gflops=12.0)
    events = [
        fingerprint_event(DEVICE, BOARD, FOUND, 1000.0),
        fingerprint_event(DEVICE, BOARD, faster, 2000.0),
        DeviceEvent(DEVICE, "lost", "it did not answer", 3000.0),
    ]
    assert known_fingerprint(events, BOARD) == faster
    assert fingerprint_of(events[-1]) is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_fingerprint_is_refused(wrong: float) -> None:
    with pytest.raises(CostModelError, match="measure the device again"):
        replace(FOUND, bandwidth_gb_s=wrong)
