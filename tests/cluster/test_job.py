"""What devices are compiled for."""

from __future__ import annotations

import pytest

from cluster.errors import ClusterError
from cluster.job import target_of
from cluster.settings import DeviceSettings
from network.isas import x86_64_v3
from tracker.device import Description

DEVICE = Description(
    "x86_64", "some processor", x86_64_v3.ISA.requires, 4, 0, None, None, "host", (2, 3), 1, "blinknet"
)
BOUNDS = {"latency": "50%"}


def test_threads_are_those_of_the_run_file() -> None:
    assert target_of(DeviceSettings(bounds=BOUNDS), DEVICE).threads == 1
    target = target_of(DeviceSettings(bounds=BOUNDS, threads=2), DEVICE)
    assert (target.threads, target.isa.threads, target.mcpu) == (2, 2, "x86-64-v3")


def test_a_stated_target_has_threads_too() -> None:
    settings = DeviceSettings(bounds=BOUNDS, threads=2, target={"mcpu": "x86-64-v2"})
    assert (target_of(settings, DEVICE).isa.name, target_of(settings, DEVICE).threads) == ("x86_64_v2", 2)


def test_more_threads_than_the_device_times_on_are_refused() -> None:
    with pytest.raises(ClusterError, match=r"3 threads.*some processor.*cores 2, 3; ask for fewer"):
        target_of(DeviceSettings(bounds=BOUNDS, threads=3), DEVICE)
